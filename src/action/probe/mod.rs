//! Polls: asks a board again and again whether it is up, and fails when it is silent several times in a row.

mod url;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use humantime::format_duration;
use reqwest::redirect::Policy;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

pub use self::url::PollUrl;

use super::{Driver, Evidence, Job, Unfinished};
use crate::clock::{Clock, after};
use crate::machine::{parse_span, plain};

/// How a board is polled: what a machine definition may say under `with`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The time from one probe's beginning to the next one's.
    #[serde(deserialize_with = "span")]
    pub interval: Duration,
    /// How many probes in a row must fail, from 1.
    pub failures: u32,
    /// The longest that one probe may take.
    #[serde(deserialize_with = "span")]
    pub limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), failures: 3, limit: Duration::from_secs(5) }
    }
}

fn span<'de, D: Deserializer<'de>>(value: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(value)?;
    let wrong = |what: &str| {
        let form = "write it as `30s` or `500ms`";
        serde::de::Error::custom(format!("`{text}` is no time to wait: {what}; {form}"))
    };
    match parse_span(&text) {
        Ok(span) if span.is_zero() => Err(wrong("it is nothing")),
        Ok(span) => Ok(span),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

impl Settings {
    /// Reads the settings of a `poll`.
    ///
    /// # Errors
    ///
    /// What is wrong and what would be right, when there is an unknown setting or a bad value.
    pub fn read(with: &Map<String, Value>) -> Result<Self, String> {
        let read = serde_json::from_value::<Self>(Value::Object(with.clone()));
        let settings =
            read.map_err(|error| format!("a setting of `poll` is wrong: {}", plain(&error.to_string())))?;
        if settings.failures == 0 {
            return Err("a setting of `poll` is wrong: `failures` is at least 1".to_owned());
        }
        Ok(settings)
    }
}

/// Polls boards.
#[derive(Clone)]
pub struct Poll {
    clock: Arc<dyn Clock>,
}

/// How the probes of one run went.
#[derive(Default)]
struct Tally {
    probes: u64,
    silent_in_a_row: u32,
    last: String,
}

impl Poll {
    /// A driver whose times run on `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    /// Probes until the board is found silent, the run is cancelled, or the board answers when there would be no time
    /// left to find it silent: no run ends with a board that is half judged.
    async fn watch(&self, target: &Target, settings: &Settings, tally: &mut Tally) -> Result<(), String> {
        let longest = self.limit().saturating_sub(settings.limit);
        let to_be_sure = settings.interval.max(settings.limit).saturating_mul(settings.failures);
        let ends_at = after(self.clock.now(), longest);
        let suffices_at = after(self.clock.now(), longest.saturating_sub(to_be_sure));
        loop {
            // From beginning to beginning, so that the pace does not depend on how quickly the board answers.
            let next_at = after(self.clock.now(), settings.interval);
            tally.probes += 1;
            match self.clock.timeout(settings.limit, target.ask()).await {
                Some(Ok(())) => tally.silent_in_a_row = 0,
                Some(Err(reason)) => tally.silent(reason),
                None => tally.silent(format!("no answer within {}", format_duration(settings.limit))),
            }
            let is_silent = tally.silent_in_a_row > 0;
            if tally.silent_in_a_row >= settings.failures || (is_silent && next_at > ends_at) {
                return Err(format!(
                    "no answer {} in a row; last: {}",
                    times(tally.silent_in_a_row),
                    tally.last
                ));
            }
            if !is_silent && next_at > suffices_at {
                return Ok(());
            }
            self.clock.sleep_until(next_at).await;
        }
    }
}

impl Tally {
    fn silent(&mut self, reason: String) {
        self.silent_in_a_row += 1;
        self.last = reason;
    }
}

fn times(count: u32) -> String {
    if count == 1 { "1 time".to_owned() } else { format!("{count} times") }
}

/// What a run asks, with what it needs for asking.
enum Target {
    Tcp { host: String, port: u16 },
    Http { client: reqwest::Client, url: ::url::Url },
}

impl Target {
    fn new(url: PollUrl) -> Result<Self, String> {
        match url {
            PollUrl::Tcp { host, port } => Ok(Self::Tcp { host, port }),
            PollUrl::Http(url) => {
                // A fresh connection each time: an open one says little about a board that boots meanwhile.
                let client =
                    reqwest::Client::builder().redirect(Policy::none()).no_proxy().pool_max_idle_per_host(0);
                let client = client.build().map_err(|error| format!("cannot make HTTP requests: {error}"))?;
                Ok(Self::Http { client, url })
            }
        }
    }

    async fn ask(&self) -> Result<(), String> {
        match self {
            Self::Tcp { host, port } => match TcpStream::connect((host.as_str(), *port)).await {
                Ok(_) => Ok(()),
                Err(error) => Err(cause(&error)),
            },
            Self::Http { client, url } => match client.get(url.clone()).send().await {
                Ok(answer) if answer.status().as_u16() < 400 => Ok(()),
                Ok(answer) => Err(format!("HTTP status {}", answer.status())),
                Err(error) => Err(cause(&error)),
            },
        }
    }
}

/// The innermost cause of `error`: what lies around it says only that a request failed.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        Some(_) | None => innermost.to_string(),
    }
}

#[async_trait]
impl Driver for Poll {
    fn limit(&self) -> Duration {
        // A state that keeps its poll begins a new one when this one ends: seldom enough to cost nothing.
        Duration::from_hours(24)
    }

    async fn run(&self, job: &Job, cancel: &CancellationToken) -> Result<Evidence, Unfinished> {
        let failed = |reason: String| Unfinished::failed(reason, Evidence::new());
        let settings = Settings::read(&job.with).map_err(failed)?;
        let url = match &job.board.poll_url {
            Some(text) => text.parse().map_err(|error: super::BadUrl| failed(error.to_string()))?,
            None => PollUrl::ssh(&job.board.fqdn),
        };
        let mut evidence = Evidence::new();
        evidence.insert("target".to_owned(), url.to_string().into());
        let target = Target::new(url).map_err(failed)?;
        let mut tally = Tally::default();
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Err("abandoned".to_owned()),
            ended = self.watch(&target, &settings, &mut tally) => ended,
        };
        evidence.insert("probes".to_owned(), tally.probes.into());
        match ended {
            Ok(()) => Ok(evidence),
            Err(reason) => Err(Unfinished::failed(reason, evidence)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(with: &Value) -> Result<Settings, String> {
        Settings::read(with.as_object().unwrap())
    }

    #[test]
    fn settings_that_are_left_out_have_their_defaults() {
        let settings = read(&json!({ "interval": "1m 30s" })).unwrap();
        assert_eq!(settings, Settings { interval: Duration::from_secs(90), ..Settings::default() });
        assert_eq!((settings.failures, settings.limit), (3, Duration::from_secs(5)));
    }

    #[test]
    fn a_bad_setting_is_refused_with_what_would_be_right() {
        for (with, right) in [
            (json!({ "interval": 30 }), "expected a string"),
            (json!({ "interval": "30" }), "`30s`"),
            (json!({ "limit": "0s" }), "`500ms`"),
            (json!({ "failures": 0 }), "at least 1"),
            (json!({ "failures": "3" }), "expected a whole number"),
            (json!({ "every": "30s" }), "`interval`, `failures`, `limit`"),
        ] {
            let error = read(&with).unwrap_err();
            assert!(error.contains(right) && error.contains("`poll`"), "{with}: {error}");
        }
    }
}

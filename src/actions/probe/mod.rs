//! Polls: asks a board again and again whether it is up, and fails when it is silent several times in a row.
//!
//! A board is asked only where somebody has said where; and it is found silent only if it has answered there before.

mod url;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::url::PollUrl;

use super::connect::{Unreached, connect, resolve};
use super::{Driver, Evidence, Finding, Job, Trouble, Unfinished, address};
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

/// How many probes may be under way at a time: of the descriptors that are kept for actions, relay boards have the rest.
const MAX_PROBES: usize = 192;

static PROBES: Semaphore = Semaphore::const_new(MAX_PROBES);

/// What a run that was cancelled says.
const ABANDONED: &str = "abandoned";

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
    /// How many in a row could not be made.
    unmade_in_a_row: u32,
    last: String,
    /// Whether the board has ever answered at its poll URL.
    has_answered: bool,
    is_told: bool,
}

impl Poll {
    /// A driver whose times run on `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    /// Probes until the board is found silent, the run is cancelled, or the board answers when there would be no time
    /// left to find it silent: no run ends with a board that is half judged.
    ///
    /// A probe that could not be made counts neither as an answer nor as silence; nor does the silence of a board that has
    /// never answered here: nobody knows whether anything answers there.
    async fn watch(
        &self,
        job: &Job,
        target: &Target,
        settings: &Settings,
        tally: &mut Tally,
    ) -> Result<(), Unfinished> {
        let longest = self.limit().saturating_sub(settings.limit);
        let to_be_sure = settings.interval.max(settings.limit).saturating_mul(settings.failures);
        let ends_at = after(self.clock.now(), longest);
        let suffices_at = after(self.clock.now(), longest.saturating_sub(to_be_sure));
        loop {
            // From beginning to beginning, so that the pace does not depend on how quickly the board answers.
            let next_at = after(self.clock.now(), settings.interval);
            tally.probes += 1;
            match target.ask(&*self.clock, settings.limit).await {
                Ok(()) => {
                    tally.answered(job);
                    if next_at > suffices_at {
                        return Ok(());
                    }
                }
                Err(Probe::Silent(reason)) => {
                    tally.silent(reason);
                    let is_judged = tally.silent_in_a_row >= settings.failures || next_at > ends_at;
                    if is_judged && tally.has_answered {
                        let times = times(tally.silent_in_a_row);
                        let reason = format!("no answer {times} in a row; last: {}", tally.last);
                        return Err(Unfinished::failed(reason, Evidence::new()));
                    }
                    if is_judged {
                        tally.tell(job);
                    }
                }
                Err(Probe::NotMade(trouble, reason)) => {
                    tally.unmade_in_a_row += 1;
                    if tally.unmade_in_a_row >= settings.failures {
                        return Err(Unfinished::suspended(trouble, reason, Evidence::new()));
                    }
                }
            }
            self.clock.sleep_until(next_at).await;
        }
    }
}

impl Tally {
    fn answered(&mut self, job: &Job) {
        (self.silent_in_a_row, self.unmade_in_a_row) = (0, 0);
        if !std::mem::replace(&mut self.has_answered, true) {
            let poll_url = job.board.poll_url.clone().unwrap_or_default();
            job.findings.tell(Finding::Answered { poll_url });
        }
    }

    fn silent(&mut self, reason: String) {
        self.silent_in_a_row = self.silent_in_a_row.saturating_add(1);
        self.unmade_in_a_row = 0;
        self.last = reason;
    }

    /// Tells once that nothing has ever answered.
    fn tell(&mut self, job: &Job) {
        if !std::mem::replace(&mut self.is_told, true) {
            let url = job.board.poll_url.as_deref().unwrap_or_default();
            job.findings.tell(Finding::Misconfigured(format!(
                "nothing has ever answered at the poll URL {url} ({}), so silence there says nothing about the board: \
                 correct the URL, or start what should answer",
                self.last
            )));
        }
    }
}

fn times(count: u32) -> String {
    if count == 1 { "1 time".to_owned() } else { format!("{count} times") }
}

/// Why a probe gave no answer.
enum Probe {
    /// The board gave none, or a bad one.
    Silent(String),
    /// It could not be made, which says nothing about the board.
    NotMade(Trouble, String),
}

impl From<Unreached> for Probe {
    fn from(unreached: Unreached) -> Self {
        match unreached {
            Unreached::Ours { trouble, reason } => Self::NotMade(trouble, reason),
            Unreached::NoSuchName(host) => {
                let trouble = Trouble::Name(host);
                Self::NotMade(trouble.clone(), trouble.to_string())
            }
            Unreached::Refused(error) => Self::Silent(cause(&error)),
            Unreached::Silent(_) => Self::Silent(unreached.to_string()),
        }
    }
}

/// What a run asks, with what it needs for asking.
enum Target {
    Tcp { host: String, port: u16 },
    Http { client: reqwest::Client, url: ::url::Url, host: String, resolved: Resolved },
}

/// The addresses that the client is to use, so that resolving and connecting are told apart.
#[derive(Clone, Default)]
struct Resolved(Arc<Mutex<Vec<SocketAddr>>>);

impl Resolved {
    fn set(&self, addresses: Vec<SocketAddr>) {
        // A panic elsewhere cannot have left it half-written.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    fn get(&self) -> Vec<SocketAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Resolve for Resolved {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.get().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

impl Target {
    fn new(url: PollUrl) -> Result<Self, String> {
        match url {
            PollUrl::Tcp { host, port } => Ok(Self::Tcp { host, port }),
            PollUrl::Http(url) => {
                let (host, resolved) = (address::host(&url)?, Resolved::default());
                // A fresh connection each time: an open one says little about a board that boots meanwhile.
                let client = reqwest::Client::builder()
                    .redirect(Policy::none())
                    .no_proxy()
                    .pool_max_idle_per_host(0)
                    .dns_resolver(resolved.clone());
                let client = client.build().map_err(|error| format!("cannot make HTTP requests: {error}"))?;
                Ok(Self::Http { client, url, host, resolved })
            }
        }
    }

    /// Asks once, within `limit`, which begins when it is its turn.
    async fn ask(&self, clock: &dyn Clock, limit: Duration) -> Result<(), Probe> {
        // Nobody closes it.
        let _permit = PROBES.acquire().await.ok();
        match self {
            Self::Tcp { host, port } => {
                connect(clock, host, *port, limit).await?;
                Ok(())
            }
            Self::Http { client, url, host, resolved } => {
                let ends_at = after(clock.now(), limit);
                let addresses = resolve(clock, host, 0, limit).await?;
                let first = addresses.first().map(SocketAddr::ip);
                resolved.set(addresses);
                let left = (ends_at - clock.now()).to_std().unwrap_or_default();
                match clock.timeout(left, client.get(url.clone()).send()).await {
                    Some(Ok(answer)) if answer.status().as_u16() < 400 => Ok(()),
                    Some(Ok(answer)) => Err(Probe::Silent(format!("HTTP status {}", answer.status()))),
                    Some(Err(error)) => {
                        Err(match first.and_then(|address| Trouble::within(&error, address)) {
                            Some(trouble) => Probe::NotMade(trouble, cause(&error)),
                            None => Probe::Silent(cause(&error)),
                        })
                    }
                    None => Err(Unreached::Silent(limit).into()),
                }
            }
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

/// Does nothing until the run is cancelled: nobody has said how to ask the board.
async fn wait_for(cancel: &CancellationToken) -> Result<Evidence, Unfinished> {
    cancel.cancelled().await;
    Err(Unfinished::failed(ABANDONED, Evidence::new()))
}

#[async_trait]
impl Driver for Poll {
    fn limit(&self) -> Duration {
        // A state that keeps its poll begins a new one when this one ends: seldom enough to cost nothing.
        Duration::from_hours(24)
    }

    /// What is wrong with the settings or the poll URL says nothing about the board: it is told, and nothing is asked.
    async fn run(&self, job: &Job, cancel: &CancellationToken) -> Result<Evidence, Unfinished> {
        let Some(text) = &job.board.poll_url else { return wait_for(cancel).await };
        let read = || -> Result<_, String> {
            let settings = Settings::read(&job.with)?;
            let url: PollUrl = text.parse().map_err(|error: super::BadUrl| error.to_string())?;
            Ok((settings, url.to_string(), Target::new(url)?))
        };
        let (settings, url, target) = match read() {
            Ok(read) => read,
            Err(reason) => {
                job.findings.tell(Finding::Misconfigured(reason));
                return wait_for(cancel).await;
            }
        };
        let mut tally = Tally { has_answered: job.has_answered, ..Tally::default() };
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Unfinished::failed(ABANDONED, Evidence::new())),
            ended = self.watch(job, &target, &settings, &mut tally) => ended,
        };
        let mut evidence = Evidence::new();
        evidence.insert("target".to_owned(), url.into());
        evidence.insert("probes".to_owned(), tally.probes.into());
        match ended {
            Ok(()) => Ok(evidence),
            Err(unfinished) => Err(Unfinished { evidence, ..unfinished }),
        }
    }

    /// A run that has not found the board silent has found out nothing.
    fn late(&self) -> Option<Trouble> {
        Some(Trouble::Renewal)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use futures_util::FutureExt as _;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::{ManualClock, SystemClock};

    #[tokio::test]
    async fn a_probe_waits_for_its_turn_before_its_time_begins() {
        let board = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = board.local_addr().unwrap().port();
        let target = Target::Tcp { host: "127.0.0.1".to_owned(), port };
        let (clock, limit) = (ManualClock::new(DateTime::UNIX_EPOCH), Duration::from_secs(5));
        let all = PROBES.acquire_many(192).await.unwrap();
        let mut probe = Box::pin(target.ask(&clock, limit));
        assert!(probe.as_mut().now_or_never().is_none());
        clock.advance(2 * limit);
        assert!(probe.as_mut().now_or_never().is_none(), "it is not its turn");
        drop(all);
        let patience: &dyn Clock = &SystemClock;
        let answered = patience.timeout(Duration::from_secs(20), probe).await;
        assert!(matches!(answered, Some(Ok(()))));
    }

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

//! Polls: asks a board again and again whether it is up, and fails when it is silent several times in a row.
//!
//! A board is asked only where somebody has said where; and it is found silent only if it has answered there before.

mod probe;
mod url;

use std::time::Duration;

use async_trait::async_trait;
use device_io::BadUrl;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use self::url::PollUrl;

use self::probe::{Probe, Target};
use super::ending::{Evidence, Unfinished};
use super::finding::Finding;
use super::job::{Facts, Job};
use super::kind::{BadSettings, Description, TypedKind};
use super::settings::{Field, Settings, fault};
use super::span;
use super::trouble::Trouble;
use crate::clock::after;
use crate::machine::SettingFault;
use crate::machine::SimulatedAction;

/// The fact where a board is to be polled; it is not polled where there is none.
const POLL_URL: &str = "poll_url";
/// The fact at which of its poll URLs a board has answered: its silence at another one says nothing about it.
const ANSWERED_URL: &str = "answered_url";

/// What a run that was cancelled says.
const ABANDONED: &str = "abandoned";

/// The longest run. A state that keeps its poll begins a new one when this one ends: seldom enough to cost nothing.
const LIMIT: Duration = Duration::from_hours(24);

/// How a board is polled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PollSettings {
    /// The time from one probe's beginning to the next one's.
    #[serde(with = "span")]
    pub interval: Duration,
    /// How many probes in a row must fail, from 1.
    pub failures: u32,
    /// The longest that one probe may take.
    #[serde(with = "span")]
    pub limit: Duration,
}

impl Default for PollSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), failures: 3, limit: Duration::from_secs(5) }
    }
}

impl Settings for PollSettings {
    const FIELDS: &'static [Field] = &[
        Field {
            name: "interval",
            form: "a time such as `30s`",
            about: "from the beginning of one probe to the beginning of the next",
        },
        Field {
            name: "failures",
            form: "a whole number, from 1",
            about: "how many probes in a row must fail before the board counts as silent",
        },
        Field { name: "limit", form: "a time such as `5s`", about: "the longest that one probe may take" },
    ];

    fn check(&self) -> Result<(), SettingFault> {
        if self.failures == 0 {
            return Err(fault("failures", "`failures` is at least 1"));
        }
        Ok(())
    }
}

/// Polls boards.
#[derive(Debug, Clone, Copy, Default)]
pub struct Poll;

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

/// Probes until the board is found silent, the run is cancelled, or the board answers when there would be no time
/// left to find it silent: no run ends with a board that is half judged.
///
/// A probe that could not be made counts neither as an answer nor as silence; nor does the silence of a board that has
/// never answered here: nobody knows whether anything answers there.
async fn watch(
    job: &Job,
    target: &Target,
    settings: &PollSettings,
    tally: &mut Tally,
) -> Result<(), Unfinished> {
    let clock = &*job.clock;
    let longest = LIMIT.saturating_sub(settings.limit);
    let to_be_sure = settings.interval.max(settings.limit).saturating_mul(settings.failures);
    let ends_at = after(clock.now(), longest);
    let suffices_at = after(clock.now(), longest.saturating_sub(to_be_sure));
    loop {
        // From beginning to beginning, so that the pace does not depend on how quickly the board answers.
        let next_at = after(clock.now(), settings.interval);
        tally.probes += 1;
        match target.ask(clock, settings.limit).await {
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
        clock.sleep_until(next_at).await;
    }
}

impl Tally {
    fn answered(&mut self, job: &Job) {
        (self.silent_in_a_row, self.unmade_in_a_row) = (0, 0);
        if !std::mem::replace(&mut self.has_answered, true) {
            let value = job.fact(POLL_URL).into();
            job.findings.tell(Finding::Fact { name: ANSWERED_URL, value });
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
            let url = job.fact(POLL_URL).unwrap_or_default();
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

/// Does nothing until the run is cancelled: nobody has said how to ask the board.
async fn wait_for(cancel: &CancellationToken) -> Result<Evidence, Unfinished> {
    cancel.cancelled().await;
    Err(Unfinished::failed(ABANDONED, Evidence::new()))
}

#[async_trait]
impl TypedKind for Poll {
    type Settings = PollSettings;

    fn description(&self) -> Description {
        Description {
            // A run that has not found the board silent has found out nothing.
            late: Some(Trouble::Renewal),
            facts: &[POLL_URL, ANSWERED_URL],
            begins_anew_with: &[POLL_URL],
            simulation: SimulatedAction::of_watch(LIMIT.as_secs_f64()),
            // They say nothing about the board, whose state may be left when a poll fails.
            bad_settings: BadSettings::Wait,
            ..Description::new(
                "poll",
                "Asks a board at its poll URL again and again whether it is up. It fails when the board, which has answered \
                 there before, gives no answer several times in a row; otherwise it goes on until the state is left.",
                LIMIT,
            )
        }
    }

    fn idle(&self, facts: &Facts) -> Option<String> {
        let has_url = facts.get(POLL_URL).is_some_and(serde_json::Value::is_string);
        (!has_url).then(|| "the board has no poll URL, so nothing is asked".to_owned())
    }

    /// What is wrong with the poll URL says nothing about the board: it is told, and nothing is asked.
    async fn run(
        &self,
        job: &Job,
        settings: &PollSettings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, Unfinished> {
        let Some(text) = job.fact(POLL_URL) else { return wait_for(cancel).await };
        let read = || -> Result<_, String> {
            let url: PollUrl = text.parse().map_err(|error: BadUrl| error.to_string())?;
            Ok((url.to_string(), Target::new(url)?))
        };
        let (url, target) = match read() {
            Ok(read) => read,
            Err(reason) => {
                job.findings.tell(Finding::Misconfigured(reason));
                return wait_for(cancel).await;
            }
        };
        let has_answered = job.fact(ANSWERED_URL) == Some(text);
        let mut tally = Tally { has_answered, ..Tally::default() };
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Unfinished::failed(ABANDONED, Evidence::new())),
            ended = watch(job, &target, settings, &mut tally) => ended,
        };
        let mut evidence = Evidence::new();
        evidence.insert("target".to_owned(), url.into());
        evidence.insert("probes".to_owned(), tally.probes.into());
        match ended {
            Ok(()) => Ok(evidence),
            Err(unfinished) => Err(Unfinished { evidence, ..unfinished }),
        }
    }
}

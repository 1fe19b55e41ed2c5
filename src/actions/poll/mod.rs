//! Polls a board at its poll URL, and fails when it is silent several times in a row.
//!
//! A board without a poll URL is not polled. A board counts as silent only if it has answered at this URL before.

mod probe;
mod url;

use std::time::Duration;

use async_trait::async_trait;
use device_io::{DeviceUrlError, UnreachableDevice};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use self::url::PollUrl;

use self::probe::{ProbeFailure, ProbeTarget};
use super::ending::{Evidence, UnfinishedAction};
use super::finding::Finding;
use super::job::{Facts, Job};
use super::kind::{ActionDescription, BadSettingsPolicy, TypedActionKind};
use super::power::{POWER_URL, power_resource};
use super::settings::{ActionSettings, SettingField, setting_fault};
use super::span;
use super::trouble::Trouble;
use crate::clock::{Clock, time_after};
use crate::formatting::count;
use crate::machine::SettingFault;
use crate::machine::SimulatedAction;

/// The fact with the poll URL of a board; a board without it is not polled.
pub(super) const POLL_URL: &str = "poll_url";
/// The fact with the poll URL at which a board has answered: its silence at another URL says nothing about it.
const ANSWERED_URL: &str = "answered_url";

/// The reason of a cancelled run.
const CANCELLED_REASON: &str = "cancelled";

/// The maximum duration of a run. A state that continues its poll starts a new run then.
const MAX_POLL_DURATION: Duration = Duration::from_hours(24);

/// The settings of a poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PollSettings {
    /// The time from the start of one probe to the start of the next.
    #[serde(with = "span")]
    pub interval: Duration,
    /// The number of probes in a row that must fail, from 1.
    pub failures: u32,
    /// The time limit of one probe.
    #[serde(with = "span")]
    pub limit: Duration,
}

impl Default for PollSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), failures: 3, limit: Duration::from_secs(5) }
    }
}

impl ActionSettings for PollSettings {
    const FIELDS: &'static [SettingField] = &[
        SettingField {
            name: "interval",
            form: "a time such as `30s`",
            about: "from the start of one probe to the start of the next",
        },
        SettingField {
            name: "failures",
            form: "a whole number, from 1",
            about: "how many probes in a row must fail before the board counts as silent",
        },
        SettingField { name: "limit", form: "a time such as `5s`", about: "the time limit of one probe" },
    ];

    fn check(&self) -> Result<(), SettingFault> {
        if self.failures == 0 {
            return Err(setting_fault("failures", "`failures` is at least 1"));
        }
        Ok(())
    }
}

/// Polls boards.
#[derive(Debug, Clone, Copy, Default)]
pub struct PollAction;

/// The results of the probes of one run.
#[derive(Default)]
struct ProbeTally {
    probes: u64,
    silent_in_a_row: u32,
    /// The number of probes in a row that could not be made.
    unmade_in_a_row: u32,
    last_failure: String,
    /// Whether the board has ever answered at its poll URL.
    has_answered: bool,
    is_reported: bool,
}

/// Probes until the board is found silent, the run is cancelled, or the board answers when too little time is left to find
/// it silent: no run ends with an incomplete series of failures.
///
/// A probe that could not be made counts neither as an answer nor as silence. The silence of a board that has never answered
/// at this URL does not count: the URL can be wrong.
async fn probe_until_silent(
    job: &Job,
    target: &ProbeTarget,
    settings: &PollSettings,
    tally: &mut ProbeTally,
) -> Result<(), UnfinishedAction> {
    let clock = &*job.clock;
    let max_duration = MAX_POLL_DURATION.saturating_sub(settings.limit);
    let judging_time = settings.interval.max(settings.limit).saturating_mul(settings.failures);
    let ends_at = time_after(clock.now(), max_duration);
    let suffices_at = time_after(clock.now(), max_duration.saturating_sub(judging_time));
    loop {
        // From start to start, so that the interval does not depend on how fast the board answers.
        let next_at = time_after(clock.now(), settings.interval);
        tally.probes += 1;
        match target.ask(clock, settings.limit).await {
            Ok(()) => {
                tally.note_answer(job);
                if next_at > suffices_at {
                    return Ok(());
                }
            }
            Err(ProbeFailure::Silent(reason)) => {
                tally.note_silence(reason);
                let is_judged = tally.silent_in_a_row >= settings.failures || next_at > ends_at;
                if is_judged && tally.has_answered {
                    let times = count(tally.silent_in_a_row, "time");
                    let reason = format!("no answer {times} in a row; last: {}", tally.last_failure);
                    let failed = UnfinishedAction::failed(reason, Evidence::new());
                    return Err(UnfinishedAction { unreachable: suspected_device(job), ..failed });
                }
                if is_judged {
                    tally.report_never_answered(job);
                }
            }
            Err(ProbeFailure::NotMade(trouble, reason)) => {
                tally.unmade_in_a_row += 1;
                if tally.unmade_in_a_row >= settings.failures {
                    return Err(UnfinishedAction::suspended(trouble, reason, Evidence::new()));
                }
            }
        }
        clock.sleep_until(next_at).await;
    }
}

/// The device that powers the board: where several of its boards are silent, it may be without power itself.
fn suspected_device(job: &Job) -> Option<Box<UnreachableDevice>> {
    let resource = power_resource(job.fact(POWER_URL)?)?;
    Some(Box::new(UnreachableDevice { resource, has_acted: false, is_suspected: true }))
}

/// Polls a board once at its poll URL.
pub(super) async fn poll_once(url: &str, clock: &dyn Clock) -> Result<(), UnfinishedAction> {
    let url: Result<PollUrl, String> = url.parse().map_err(|error: DeviceUrlError| error.to_string());
    let target = url.and_then(ProbeTarget::new).map_err(UnfinishedAction::misconfigured)?;
    match target.ask(clock, PollSettings::default().limit).await {
        Ok(()) => Ok(()),
        Err(ProbeFailure::Silent(reason)) => Err(UnfinishedAction::failed(reason, Evidence::new())),
        Err(ProbeFailure::NotMade(trouble, reason)) => {
            Err(UnfinishedAction::suspended(trouble, reason, Evidence::new()))
        }
    }
}

impl ProbeTally {
    fn note_answer(&mut self, job: &Job) {
        (self.silent_in_a_row, self.unmade_in_a_row) = (0, 0);
        if !std::mem::replace(&mut self.has_answered, true) {
            let value = job.fact(POLL_URL).into();
            job.findings.report(Finding::Fact { name: ANSWERED_URL, value });
        }
    }

    fn note_silence(&mut self, reason: String) {
        self.silent_in_a_row = self.silent_in_a_row.saturating_add(1);
        self.unmade_in_a_row = 0;
        self.last_failure = reason;
    }

    /// Reports once that nothing has ever answered.
    fn report_never_answered(&mut self, job: &Job) {
        if !std::mem::replace(&mut self.is_reported, true) {
            let url = job.fact(POLL_URL).unwrap_or_default();
            job.findings.report(Finding::Misconfigured(format!(
                "nothing has ever answered at the poll URL {url} ({}), so silence there says nothing about the board: \
                 correct the URL, or start what should answer",
                self.last_failure
            )));
        }
    }
}

/// Does nothing until the run is cancelled.
async fn wait_until_cancelled(cancel: &CancellationToken) -> Result<Evidence, UnfinishedAction> {
    cancel.cancelled().await;
    Err(UnfinishedAction::failed(CANCELLED_REASON, Evidence::new()))
}

#[async_trait]
impl TypedActionKind for PollAction {
    type Settings = PollSettings;

    fn description(&self) -> ActionDescription {
        ActionDescription {
            // A run that has not found the board silent has no result.
            late_trouble: Some(Trouble::Renewal),
            facts: &[POLL_URL, ANSWERED_URL, POWER_URL],
            restarted_by_facts: &[POLL_URL],
            simulation: SimulatedAction::of_watch(MAX_POLL_DURATION.as_secs_f64()),
            // Invalid settings say nothing about the board, and a failed poll can leave its state.
            bad_settings: BadSettingsPolicy::Wait,
            ..ActionDescription::new(
                "poll",
                "Polls a board at its poll URL. It fails when the board, which has answered there before, gives no answer \
                 several times in a row; otherwise it runs until the state is left.",
                MAX_POLL_DURATION,
            )
        }
    }

    fn idle_reason(&self, facts: &Facts) -> Option<String> {
        let has_url = facts.get(POLL_URL).is_some_and(serde_json::Value::is_string);
        (!has_url).then(|| "the board has no poll URL, so it is not polled".to_owned())
    }

    /// An invalid poll URL says nothing about the board: it is reported, and the board is not polled.
    async fn run(
        &self,
        job: &Job,
        settings: &PollSettings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, UnfinishedAction> {
        let Some(text) = job.fact(POLL_URL) else { return wait_until_cancelled(cancel).await };
        let read = || -> Result<_, String> {
            let url: PollUrl = text.parse().map_err(|error: DeviceUrlError| error.to_string())?;
            Ok((url.to_string(), ProbeTarget::new(url)?))
        };
        let (url, target) = match read() {
            Ok(read) => read,
            Err(reason) => {
                job.findings.report(Finding::Misconfigured(reason));
                return wait_until_cancelled(cancel).await;
            }
        };
        let has_answered = job.fact(ANSWERED_URL) == Some(text);
        let mut tally = ProbeTally { has_answered, ..ProbeTally::default() };
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(UnfinishedAction::failed(CANCELLED_REASON, Evidence::new())),
            ended = probe_until_silent(job, &target, settings, &mut tally) => ended,
        };
        let mut evidence = Evidence::new();
        evidence.insert("target".to_owned(), url.into());
        evidence.insert("probes".to_owned(), tally.probes.into());
        match ended {
            Ok(()) => Ok(evidence),
            Err(unfinished) => Err(UnfinishedAction { evidence, ..unfinished }),
        }
    }
}

//! Probe: whether the device of a power URL answers, and a board that it powers. Nothing is switched.

use std::sync::Arc;
use std::time::Duration;

use ::power::{DEFAULT_CALL_TIMEOUT, PowerContext, PowerSettings, PowerState, probe};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::ending::{Evidence, UnfinishedAction};
use super::job::{Facts, Job};
use super::kind::{ActionDescription, ResourceClaim, TypedActionKind};
use super::poll::{POLL_URL, poll_once};
use super::power::{POWER_URL, power_url, probe_claims};
use super::settings::NoSettings;
use super::trouble::Trouble;
use crate::machine::SimulatedAction;

/// The time limit of a run: tries and connections are limited by the reading itself.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks a device whether it answers.
#[derive(Debug, Clone)]
pub struct ProbeAction {
    settings: PowerSettings,
}

impl ProbeAction {
    /// The kind of action, where power URLs can name these settings.
    #[must_use]
    pub fn new(settings: PowerSettings) -> Self {
        Self { settings }
    }
}

#[async_trait]
impl TypedActionKind for ProbeAction {
    type Settings = NoSettings;

    fn description(&self) -> ActionDescription {
        ActionDescription {
            facts: &[POWER_URL, POLL_URL],
            simulation: SimulatedAction::of_resource(),
            ..ActionDescription::new(
                "probe",
                "Reads the outlet of a power URL, or connects to its device where the outlet cannot be read. Succeeds when the \
                 device answers; with a poll URL, when also the board answers there or its outlet is off. Nothing is switched.",
                PROBE_TIMEOUT,
            )
        }
    }

    fn claims(&self, _: &NoSettings, facts: &Facts) -> Vec<ResourceClaim> {
        probe_claims(facts)
    }

    async fn run(
        &self,
        job: &Job,
        _: &NoSettings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, UnfinishedAction> {
        let url = power_url(job)?;
        let context = PowerContext {
            clock: Arc::clone(&job.clock),
            lease: job.lease.clone(),
            call_limit: DEFAULT_CALL_TIMEOUT,
            interrupted_runs: 0,
            credentials: self.settings.credentials.clone(),
            commands: self.settings.commands.clone(),
            min_off: Duration::ZERO,
        };
        let ended = probe(&url, &context, cancel).await;
        let evidence = ended.map_err(|unfinished| unfinished.map_trouble(Trouble::from))?;
        let Some(poll_url) = job.fact(POLL_URL) else { return Ok(evidence) };
        if evidence.get("observed").is_some_and(|observed| observed == PowerState::Off.name()) {
            // Waiting does not help the board: its power has to be switched on.
            return Ok(evidence);
        }
        let polled = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(UnfinishedAction::failed("cancelled", Evidence::new())),
            polled = poll_once(poll_url, &*job.clock) => polled,
        };
        match polled {
            Ok(()) => Ok(evidence),
            Err(silent) => {
                let reason =
                    format!("the device answers, but not the board at {poll_url}: {}", silent.reason);
                Err(UnfinishedAction { reason, evidence, ..silent })
            }
        }
    }
}

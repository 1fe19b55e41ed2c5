//! Probe: whether the device of a power URL answers. Nothing is switched.

use std::sync::Arc;
use std::time::Duration;

use ::power::{DEFAULT_CALL_TIMEOUT, PowerContext, PowerSettings, probe};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::ending::{Evidence, UnfinishedAction};
use super::job::{Facts, Job};
use super::kind::{ActionDescription, ResourceClaim, TypedActionKind};
use super::power::{POWER_URL, claims_of, power_url};
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
            facts: &[POWER_URL],
            simulation: SimulatedAction::of_resource(),
            ..ActionDescription::new(
                "probe",
                "Reads the outlet of a power URL, or connects to its device where the outlet cannot be read. Succeeds when the \
                 device answers; nothing is switched.",
                PROBE_TIMEOUT,
            )
        }
    }

    fn claims(&self, _: &NoSettings, facts: &Facts) -> Vec<ResourceClaim> {
        claims_of(facts)
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
        };
        let ended = probe(&url, &context, cancel).await;
        ended.map_err(|unfinished| unfinished.map_trouble(Trouble::from))
    }
}

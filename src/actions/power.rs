//! Power: on, off, and off and on again, at the outlet that a board's power URL names.
//!
//! What is done there, and what counts as done, is the crate `power`'s. Where a cycle could not give the power back the
//! action says so ([`ActionEnding::Unrestored`](super::ending::ActionEnding::Unrestored)), so that it is tried again whatever becomes of the board's state.

use std::sync::Arc;
use std::time::Duration;

use ::power::{DEFAULT_CALL_TIMEOUT, PowerContext, PowerOperation, PowerUrl, max_operation_time, operate};
use async_trait::async_trait;
use device_io::DeviceUrlError;
use tokio_util::sync::CancellationToken;

use super::ending::{Evidence, UnfinishedAction};
use super::job::{Facts, Job};
use super::kind::{ActionDescription, BadSettingsPolicy, ResourceClaim, TypedActionKind};
use super::settings::NoSettings;
use super::trouble::Trouble;
use crate::machine::SimulatedAction;

/// What only one power action may hold at a time: the device of this power URL, where it takes one client.
#[must_use]
pub fn power_resource(power_url: &str) -> Option<String> {
    let url: PowerUrl = power_url.parse().ok()?;
    url.resource().map(str::to_owned)
}

/// What switches the power of a board with this power URL and of no other, in one spelling.
#[must_use]
pub fn power_outlet(power_url: &str) -> Option<String> {
    power_url.parse().ok().map(|url: PowerUrl| url.outlet())
}

/// The fact where a board's power is switched.
const POWER_URL: &str = "power_url";

/// Switches the power of boards.
#[derive(Debug, Clone)]
pub struct PowerAction {
    operation: PowerOperation,
    call_limit: Duration,
}

impl PowerAction {
    /// The kind of action for `operation`.
    #[must_use]
    pub fn new(operation: PowerOperation) -> Self {
        Self { operation, call_limit: DEFAULT_CALL_TIMEOUT }
    }

    /// Bounds each call to a device by `limit`; it is 5 s where nothing else is said.
    #[must_use]
    pub fn with_call_limit(mut self, limit: Duration) -> Self {
        self.call_limit = limit;
        self
    }
}

#[async_trait]
impl TypedActionKind for PowerAction {
    type Settings = NoSettings;

    fn description(&self) -> ActionDescription {
        let (name, about) = match self.operation {
            PowerOperation::On => ("power-on", "Gives a board power, at its power URL."),
            PowerOperation::Off => ("power-off", "Takes a board's power away, at its power URL."),
            PowerOperation::Cycle => (
                "power-cycle",
                "Takes a board's power away for a while and gives it back, at its power URL. Whatever becomes of it once it \
                 began, the board has power in the end.",
            ),
        };
        ActionDescription {
            compensation: (self.operation == PowerOperation::Cycle).then_some("power-on"),
            supersedes: &["power-on"],
            facts: &[POWER_URL],
            simulation: SimulatedAction::of_resource(),
            // Releases before took any settings and looked at none.
            bad_settings: BadSettingsPolicy::Ignore,
            ..ActionDescription::new(name, about, max_operation_time(self.operation))
        }
    }

    /// The outlet's device. A board whose power URL is missing or no good holds nothing: the action fails before it reaches
    /// anything.
    fn claims(&self, _: &NoSettings, facts: &Facts) -> Vec<ResourceClaim> {
        let url = facts.get(POWER_URL).and_then(serde_json::Value::as_str);
        let url = url.and_then(power_resource);
        url.map(ResourceClaim::exclusive).into_iter().collect()
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
            call_limit: self.call_limit,
            interrupted_runs: job.attempts,
        };
        let ended = operate(&url, self.operation, &context, cancel).await;
        ended.map_err(|unfinished| unfinished.map_trouble(Trouble::from))
    }
}

fn power_url(job: &Job) -> Result<PowerUrl, UnfinishedAction> {
    let Some(text) = job.fact(POWER_URL) else {
        let reason = format!("{} has no power URL: nobody can switch its power", job.subject);
        return Err(UnfinishedAction::misconfigured(reason));
    };
    text.parse().map_err(|error: DeviceUrlError| UnfinishedAction::misconfigured(error.to_string()))
}

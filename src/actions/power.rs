//! Power: on, off, off and on again, and reading, at the outlet that a power URL names.
//!
//! The crate `power` switches the outlets and observes them. Where a cycle could not restore the power, the action ends as
//! [`Unrestored`](device_io::RunErrorKind::Unrestored): restoring it is retried in any state of the board.

use std::sync::Arc;
use std::time::Duration;

use ::power::{
    DEFAULT_CALL_TIMEOUT, PowerContext, PowerOperation, PowerSettings, PowerUrl, max_operation_time, operate,
};
use async_trait::async_trait;
use device_io::DeviceUrlError;
use tokio_util::sync::CancellationToken;

use super::ending::{Evidence, UnfinishedAction};
use super::job::{Facts, Job};
use super::kind::{ActionDescription, BadSettingsPolicy, ResourceClaim, TypedActionKind};
use super::settings::NoSettings;
use super::trouble::Trouble;
use crate::machine::SimulatedAction;

/// Returns the resource of a power URL: its device.
#[must_use]
pub fn power_resource(power_url: &str) -> Option<String> {
    power_url.parse().ok().map(|url: PowerUrl| url.device().to_owned())
}

/// Returns the claim of an action that switches on by a power URL.
#[must_use]
pub fn power_claim(power_url: &str) -> Option<ResourceClaim> {
    device_claim(power_url).map(ResourceClaim::adding_load)
}

/// Returns the claim on the device of a power URL: on all of it, where it accepts one client at a time.
fn device_claim(power_url: &str) -> Option<ResourceClaim> {
    let url: PowerUrl = power_url.parse().ok()?;
    let device = url.device().to_owned();
    let is_exclusive = url.resource().is_some();
    Some(if is_exclusive { ResourceClaim::exclusive(device) } else { ResourceClaim::shared(device) })
}

/// Returns the normalized name of the outlet of a power URL. No two boards share an outlet.
#[must_use]
pub fn power_outlet(power_url: &str) -> Option<String> {
    power_url.parse().ok().map(|url: PowerUrl| url.outlet())
}

/// Returns whether a power URL can say how the board is wired: by `invert`, for relays.
#[must_use]
pub fn has_power_wiring(power_url: &str) -> bool {
    power_url.parse().is_ok_and(|url: PowerUrl| url.has_wiring())
}

/// Returns whether a power URL says that its board has power while the relay is off.
#[must_use]
pub fn is_power_inverted(power_url: &str) -> bool {
    power_url.parse().is_ok_and(|url: PowerUrl| url.is_inverted())
}

/// Returns the device of a power URL: its scheme, and its address.
#[must_use]
pub fn power_device(power_url: &str) -> Option<(String, String)> {
    let url: PowerUrl = power_url.parse().ok()?;
    let (scheme, address) = url.device().split_once("://")?;
    Some((scheme.to_owned(), address.to_owned()))
}

/// Says what a power URL names that is not among `settings`: a credential or commands; `None` where nothing is missing.
#[must_use]
pub fn missing_power_setting(power_url: &str, settings: &PowerSettings) -> Option<String> {
    let url: PowerUrl = power_url.parse().ok()?;
    let credentials = &settings.credentials;
    let missing = url.credential().filter(|name| !credentials.contains(name));
    let missing = missing.map(|name| credentials.unknown_reason(name));
    missing.or_else(|| url.commands_problem(&settings.commands))
}

/// The fact with the power URL of a board.
pub(super) const POWER_URL: &str = "power_url";

/// Switches the power of boards.
#[derive(Debug, Clone)]
pub struct PowerAction {
    operation: PowerOperation,
    call_limit: Duration,
    settings: PowerSettings,
}

impl PowerAction {
    /// The kind of action for `operation`.
    #[must_use]
    pub fn new(operation: PowerOperation) -> Self {
        Self { operation, call_limit: DEFAULT_CALL_TIMEOUT, settings: PowerSettings::default() }
    }

    /// Sets the time limit of a call to a device; the default is 5 s.
    #[must_use]
    pub fn with_call_limit(mut self, limit: Duration) -> Self {
        self.call_limit = limit;
        self
    }

    /// Sets what power URLs name: credentials and commands; the default is none.
    #[must_use]
    pub fn with_settings(mut self, settings: PowerSettings) -> Self {
        self.settings = settings;
        self
    }
}

#[async_trait]
impl TypedActionKind for PowerAction {
    type Settings = NoSettings;

    fn description(&self) -> ActionDescription {
        let (name, about) = match self.operation {
            PowerOperation::On => ("power-on", "Switches the power of a board on, at its power URL."),
            PowerOperation::Off => ("power-off", "Switches the power of a board off, at its power URL."),
            PowerOperation::Cycle => (
                "power-cycle",
                "Switches the power of a board off and on again, at its power URL. An interrupted power cycle ends with the \
                 power on.",
            ),
            PowerOperation::Read => {
                ("power-read", "Reads whether the power is on, at a power URL. Nothing is switched.")
            }
        };
        ActionDescription {
            compensation: (self.operation == PowerOperation::Cycle).then_some("power-on"),
            supersedes: match self.operation {
                PowerOperation::On | PowerOperation::Off | PowerOperation::Cycle => &["power-on"],
                PowerOperation::Read => &[],
            },
            facts: &[POWER_URL],
            simulation: SimulatedAction::of_resource(),
            // Earlier releases accepted any settings and read none.
            bad_settings: BadSettingsPolicy::Ignore,
            ..ActionDescription::new(name, about, max_operation_time(self.operation))
        }
    }

    /// The device of the outlet. A board without a valid power URL claims nothing: its action fails before it reaches a
    /// device.
    fn claims(&self, _: &NoSettings, facts: &Facts) -> Vec<ResourceClaim> {
        match self.operation {
            PowerOperation::On | PowerOperation::Cycle => power_url_of(facts).and_then(power_claim),
            PowerOperation::Off => power_url_of(facts).and_then(device_claim),
            PowerOperation::Read => return probe_claims(facts),
        }
        .into_iter()
        .collect()
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
            credentials: self.settings.credentials.clone(),
            commands: self.settings.commands.clone(),
            min_off: job.min_off,
        };
        let ended = operate(&url, self.operation, &context, cancel).await;
        ended.map_err(|unfinished| unfinished.map_trouble(Trouble::from))
    }
}

/// The claim of an action that only reads at the power URL among `facts`.
pub(super) fn probe_claims(facts: &Facts) -> Vec<ResourceClaim> {
    power_url_of(facts).and_then(device_claim).map(ResourceClaim::probing).into_iter().collect()
}

fn power_url_of(facts: &Facts) -> Option<&str> {
    facts.get(POWER_URL).and_then(serde_json::Value::as_str)
}

pub(super) fn power_url(job: &Job) -> Result<PowerUrl, UnfinishedAction> {
    let Some(text) = job.fact(POWER_URL) else {
        let reason = format!("{} has no power URL, so its power cannot be switched", job.subject);
        return Err(UnfinishedAction::misconfigured(reason));
    };
    text.parse().map_err(|error: DeviceUrlError| UnfinishedAction::misconfigured(error.to_string()))
}

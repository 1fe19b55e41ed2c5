//! Power: on, off, and off and on again, at the outlet that a board's power URL names.
//!
//! What is done there, and what counts as done, is the crate `power`'s. Where a cycle could not give the power back the
//! action says so ([`Ending::Unrestored`](super::ending::Ending::Unrestored)), so that it is tried again whatever becomes of the board's state.

use std::sync::Arc;
use std::time::Duration;

use ::power::{CALL_LIMIT, Context, Operation, PowerUrl, limit, operate};
use async_trait::async_trait;
use device_io::BadUrl;
use tokio_util::sync::CancellationToken;

use super::ending::{Evidence, Unfinished};
use super::job::{Facts, Job};
use super::kind::{BadSettings, Claim, Description, TypedKind};
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
pub struct Power {
    operation: Operation,
    call_limit: Duration,
}

impl Power {
    /// The kind of action for `operation`.
    #[must_use]
    pub fn new(operation: Operation) -> Self {
        Self { operation, call_limit: CALL_LIMIT }
    }

    /// Bounds each call to a device by `limit`; it is 5 s where nothing else is said.
    #[must_use]
    pub fn with_call_limit(mut self, limit: Duration) -> Self {
        self.call_limit = limit;
        self
    }
}

#[async_trait]
impl TypedKind for Power {
    type Settings = NoSettings;

    fn description(&self) -> Description {
        let (name, about) = match self.operation {
            Operation::On => ("power-on", "Gives a board power, at its power URL."),
            Operation::Off => ("power-off", "Takes a board's power away, at its power URL."),
            Operation::Cycle => (
                "power-cycle",
                "Takes a board's power away for a while and gives it back, at its power URL. Whatever becomes of it once it \
                 began, the board has power in the end.",
            ),
        };
        Description {
            compensation: (self.operation == Operation::Cycle).then_some("power-on"),
            supersedes: &["power-on"],
            facts: &[POWER_URL],
            simulation: SimulatedAction::of_resource(),
            // Releases before took any settings and looked at none.
            bad_settings: BadSettings::Ignore,
            ..Description::new(name, about, limit(self.operation))
        }
    }

    /// The outlet's device. A board whose power URL is missing or no good holds nothing: the action fails before it reaches
    /// anything.
    fn claims(&self, _: &NoSettings, facts: &Facts) -> Vec<Claim> {
        let url = facts.get(POWER_URL).and_then(serde_json::Value::as_str);
        let url = url.and_then(power_resource);
        url.map(Claim::exclusive).into_iter().collect()
    }

    async fn run(
        &self,
        job: &Job,
        _: &NoSettings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, Unfinished> {
        let url = power_url(job)?;
        let context = Context {
            clock: Arc::clone(&job.clock),
            lease: job.lease.clone(),
            call_limit: self.call_limit,
            interrupted: job.attempts,
        };
        let ended = operate(&url, self.operation, &context, cancel).await;
        ended.map_err(|unfinished| unfinished.map_trouble(Trouble::from))
    }
}

fn power_url(job: &Job) -> Result<PowerUrl, Unfinished> {
    let Some(text) = job.fact(POWER_URL) else {
        let reason = format!("{} has no power URL: nobody can switch its power", job.subject);
        return Err(Unfinished::misconfigured(reason));
    };
    text.parse().map_err(|error: BadUrl| Unfinished::misconfigured(error.to_string()))
}

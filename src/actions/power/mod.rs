//! Power: on, off, and off and on again, at a coil of a relay board.
//!
//! An operation succeeds by what was read back, where the relay board can be read. Whatever becomes of a power cycle once it
//! began to take the power away, it gives it back before it ends: when it is cancelled, too. Where that fails it says so
//! ([`Ending::Dark`]), so that it is tried again whatever becomes of the board's state. Only a driver that is *dropped* in
//! between cannot, so whoever runs one cancels it first and drops it only past its limit.

mod fault;
mod frame;
mod modbus;
mod switching;
mod url;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::SecondsFormat;
use tokio_util::sync::CancellationToken;

pub use self::url::{MAX_OFF, MAX_REST, PowerUrl, Readback};

use self::modbus::Line;
use self::switching::{PHASE, Switching};
use super::address::BadUrl;
use super::ending::{Ending, Evidence, Unfinished};
use super::job::{Facts, Job};
use super::kind::{BadSettings, Claim, Description, TypedKind};
use super::settings::NoSettings;
use super::trouble::Trouble;

/// What only one power action may hold at a time: the relay board of this power URL.
#[must_use]
pub fn power_resource(power_url: &str) -> Option<String> {
    power_url.parse().ok().map(|url: PowerUrl| url.place())
}

/// What switches the power of a board with this power URL and of no other, in one spelling.
#[must_use]
pub fn power_outlet(power_url: &str) -> Option<String> {
    power_url.parse().ok().map(|url: PowerUrl| url.outlet())
}

/// The longest that one call to a relay board may take.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// What to do with a board's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Gives the board power.
    On,
    /// Takes the board's power away.
    Off,
    /// Takes the power away, waits, and gives it back.
    Cycle,
}

/// Whether a board has power, as it was told or observed; what is not known is no `Supply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Supply {
    On,
    Off,
}

impl Supply {
    fn of_coil(value: bool, url: &PowerUrl) -> Self {
        if value == url.is_inverted { Self::Off } else { Self::On }
    }

    fn coil_of(self, url: &PowerUrl) -> bool {
        (self == Self::On) != url.is_inverted
    }

    fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// The fact where a board's power is switched.
const POWER_URL: &str = "power_url";

/// Switches the power of boards at relay boards; the caller sees to it that a relay board has one operation at a time.
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

    /// Bounds each call to a relay board by `limit`; it is 5 s where nothing else is said.
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
        // A phase for each thing to do (look, cut, give back), and the longest time that a cycle may keep a board off.
        let (name, about, limit) = match self.operation {
            Operation::On => ("power-on", "Gives a board power, at its power URL.", PHASE),
            Operation::Off => ("power-off", "Takes a board's power away, at its power URL.", 2 * PHASE),
            Operation::Cycle => (
                "power-cycle",
                "Takes a board's power away for a while and gives it back, at its power URL. Whatever becomes of it once it \
                 began, the board has power in the end.",
                3 * PHASE + MAX_OFF,
            ),
        };
        Description {
            compensation: (self.operation == Operation::Cycle).then_some("power-on"),
            supersedes: &["power-on"],
            // Releases before took any settings and looked at none.
            bad_settings: BadSettings::Ignore,
            ..Description::new(name, about, limit)
        }
    }

    /// The relay board. A board whose power URL is missing or no good holds nothing: the action fails before it reaches
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
        let url = address(job)?;
        let line = Line::new(Arc::clone(&job.clock), self.call_limit, url.clone(), job.lease.clone());
        let mut switching = Switching::new(Arc::clone(&job.clock), line);
        let ended = match self.operation {
            Operation::On => switching.give(cancel).await,
            Operation::Off => switching.cut(cancel).await,
            Operation::Cycle => switching.cycle(url.off_for, job.attempts, cancel).await,
        };
        let mut evidence = evidence(&url, &switching);
        if job.attempts > 0 {
            evidence.insert("interrupted".to_owned(), job.attempts.into());
        }
        match ended {
            Ok(()) => {
                if !switching.line.can_read() {
                    evidence.insert("result".to_owned(), "accepted, not observed".into());
                }
                Ok(evidence)
            }
            Err(fault) => {
                if let Some(answer) = &switching.line.answer {
                    evidence.insert("answer".to_owned(), answer.as_str().into());
                }
                // What is left of an earlier run is to give power back, so that one that fails leaves the board dark.
                let is_left_over = self.operation == Operation::On && job.attempts > 0;
                let is_dark = switching.is_dark || is_left_over;
                let ending = fault.ending(switching.has_written);
                let is_suspended = matches!(ending, Ending::Suspended { .. });
                let ending = if is_dark && !is_suspended {
                    Ending::Dark(Trouble::Power(url.outlet()))
                } else {
                    ending
                };
                Err(Unfinished { reason: fault.reason, evidence, ending })
            }
        }
    }
}

fn address(job: &Job) -> Result<PowerUrl, Unfinished> {
    let Some(text) = job.fact(POWER_URL) else {
        let reason = format!("{} has no power URL: nobody can switch its power", job.subject);
        return Err(Unfinished::misconfigured(reason));
    };
    text.parse().map_err(|error: BadUrl| Unfinished::misconfigured(error.to_string()))
}

fn evidence(url: &PowerUrl, switching: &Switching) -> Evidence {
    let mut evidence = Evidence::new();
    evidence.insert("coil".to_owned(), url.coil.into());
    evidence.insert("unit".to_owned(), url.unit.into());
    evidence.insert("observed".to_owned(), switching.observed.map_or("unknown", Supply::name).into());
    evidence.insert("attempts".to_owned(), switching.line.attempts.into());
    if !switching.line.can_read() {
        evidence.insert("readback".to_owned(), "none".into());
    }
    for (name, at) in [("off_at", switching.off_at), ("on_at", switching.on_at)] {
        if let Some(at) = at {
            evidence.insert(name.to_owned(), at.to_rfc3339_opts(SecondsFormat::Micros, true).into());
        }
    }
    evidence
}

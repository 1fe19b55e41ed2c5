//! A simulated instance: its state in the kernel, its actions, and its planned events.

use super::tally::UnavailabilityCause;
use machine::Instance;
use random::Random;
use schedule::ResourceUnits;

/// A simulated instance.
#[derive(Debug)]
pub(super) struct SimulatedInstance {
    pub(super) instance: Instance,
    /// Index of its machine.
    pub(super) machine: usize,
    /// Index in the shard of the device that its actions claim, and of the device's circuit.
    pub(super) device: usize,
    pub(super) circuit: usize,
    /// Index of its state.
    pub(super) state: usize,
    /// Time at which the state was entered from another one.
    pub(super) since_ms: u64,
    pub(super) random: Random,
    /// Index of its class; 0 for sound instances.
    pub(super) class: usize,
    pub(super) progress: ActionProgress,
    /// Whether it holds its device.
    pub(super) holds_device: bool,
    /// Units that its state holds.
    pub(super) holds: Vec<ResourceUnits<usize>>,
    /// The run of a cancelled action at its device that is being completed.
    pub(super) abandoned: Option<u32>,
    /// Number of the last run of an action.
    pub(super) run: u32,
    pub(super) plan_versions: PlanVersions,
    /// Cause and start of its unavailability.
    pub(super) unavailable_since: Option<(UnavailabilityCause, u64)>,
    pub(super) rate: DecisionRate,
}

/// Progress of the actions of an instance's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActionProgress {
    /// No action is left.
    Done,
    /// The actions wait for the end of an abandoned one.
    Blocked,
    /// The actions from `step` on wait for resources.
    Waits { step: usize },
    /// The action `step` runs; its outcome is drawn already.
    Runs { step: usize, succeeds: bool },
}

/// Versions of the last planned events; events with earlier versions are obsolete.
#[derive(Debug, Default)]
pub(super) struct PlanVersions {
    pub(super) reports: u32,
    pub(super) requests: u32,
    pub(super) breaks: u32,
}

/// Number of decisions in the current hour.
#[derive(Debug, Default)]
pub(super) struct DecisionRate {
    hour: u64,
    decisions: u32,
}

impl DecisionRate {
    /// Counts a decision; returns whether this hour has at most `max_decisions`.
    pub(super) fn count(&mut self, at_ms: u64, max_decisions: u32) -> bool {
        let hour = at_ms / 3_600_000;
        if hour != self.hour {
            *self = Self { hour, decisions: 0 };
        }
        self.decisions += 1;
        self.decisions <= max_decisions
    }
}

//! A simulated instance: as the kernel sees it, and what it, its actions and its operators are about to do.

use super::tally::UnavailabilityCause;
use machine::Instance;
use random::Random;
use schedule::ResourceUnits;

/// An instance.
#[derive(Debug)]
pub(super) struct SimulatedInstance {
    pub(super) instance: Instance,
    /// The number of its machine.
    pub(super) machine: usize,
    /// The number of the device that its actions claim, and of that one's circuit, in the shard.
    pub(super) device: usize,
    pub(super) circuit: usize,
    /// The number of the state that it is in.
    pub(super) state: usize,
    /// Since when, whatever number of times it was entered anew.
    pub(super) since_ms: u64,
    pub(super) random: Random,
    /// The class that it belongs to: 0 where nothing is wrong with it.
    pub(super) class: usize,
    pub(super) progress: ActionProgress,
    /// Whether it holds its device.
    pub(super) holds_device: bool,
    /// What its states hold.
    pub(super) holds: Vec<ResourceUnits<usize>>,
    /// An action at its device that nobody wants any more and that is brought to its end.
    pub(super) abandoned: Option<u32>,
    /// The last run of an action.
    pub(super) run: u32,
    pub(super) plan_versions: PlanVersions,
    /// What began its way to an available state, and when.
    pub(super) unavailable_since: Option<(UnavailabilityCause, u64)>,
    pub(super) rate: DecisionRate,
}

/// How far the actions of the instance's state are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActionProgress {
    /// None is left.
    Done,
    /// They wait for the end of an abandoned one.
    Blocked,
    /// They wait for resources, from this one on.
    Waits { step: usize },
    /// One of them runs, and will succeed or not.
    Runs { step: usize, succeeds: bool },
}

/// Numbers of what was last planned: an occurrence with an earlier one is obsolete.
#[derive(Debug, Default)]
pub(super) struct PlanVersions {
    pub(super) reports: u32,
    pub(super) requests: u32,
    pub(super) breaks: u32,
}

/// How many decisions there were in the present hour.
#[derive(Debug, Default)]
pub(super) struct DecisionRate {
    hour: u64,
    decisions: u32,
}

impl DecisionRate {
    /// Counts a decision; false where there have been more than `most` in this hour.
    pub(super) fn count(&mut self, at_ms: u64, most: u32) -> bool {
        let hour = at_ms / 3_600_000;
        if hour != self.hour {
            *self = Self { hour, decisions: 0 };
        }
        self.decisions += 1;
        self.decisions <= most
    }
}

//! A board in the simulation: its instance, and what it, its actions and its operators are about to do.

use super::tally::Reason;
use machine::Instance;
use random::Random;

/// A board.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) instance: Instance,
    /// The number of the state that it is in.
    pub(super) state: usize,
    /// Since when, whatever number of times it was entered anew.
    pub(super) since_ms: u64,
    pub(super) random: Random,
    /// The class of boards that it belongs to: 0 where nothing is wrong with it.
    pub(super) class: usize,
    pub(super) work: Work,
    /// Whether it holds its relay board's place.
    pub(super) holds_place: bool,
    /// A power operation that nobody wants any more and that is brought to its end.
    pub(super) abandoned: Option<u32>,
    /// The last run of an action.
    pub(super) run: u32,
    /// What the board, its operators and its wear are to do next: what was to happen for an earlier turn is of no account.
    pub(super) turns: Turns,
    /// What began its way to an available state, and when.
    pub(super) way: Option<(Reason, u64)>,
    pub(super) pace: Pace,
}

/// How far the actions of the board's state are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// None is left.
    Done,
    /// They wait for the end of an abandoned one.
    Blocked,
    /// They wait for the relay board's place, from this one on.
    Waits { step: usize },
    /// One of them runs, and will succeed or not.
    Runs { step: usize, succeeds: bool },
}

/// Numbers by which it is known what is still of account.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) reports: u32,
    pub(super) asks: u32,
    pub(super) breaks: u32,
}

/// How many decisions there were in the present hour.
#[derive(Debug, Default)]
pub(super) struct Pace {
    hour: u64,
    decisions: u32,
}

impl Pace {
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

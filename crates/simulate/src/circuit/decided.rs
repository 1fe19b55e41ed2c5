//! What the kernel decided, and because of what.

use super::super::tally::Reason;
use machine::Outcome;
use machine::Source;

/// What is decided on, for the record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) reason: Reason,
    pub(super) by: By,
}

/// Who or what makes something happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Somebody who reports.
    Report,
    Operator,
    /// An action that ended, or time that passed.
    Clockwork,
}

impl By {
    pub(super) fn of(source: &Source) -> Self {
        match source {
            Source::Face(_) => Self::Report,
            Source::Operator => Self::Operator,
            Source::Action | Source::Instance(_) => Self::Clockwork,
        }
    }
}

/// What the kernel decided.
pub(super) struct Decided {
    pub(super) outcome: Outcome,
    /// Whether a state was entered anew and its actions go on.
    pub(super) is_kept: bool,
    /// Whether there is another deadline than before.
    pub(super) is_armed_anew: bool,
}

impl Told {
    pub(super) const DEADLINE: Self = Self { reason: Reason::Deadline, by: By::Clockwork };
}

//! What the kernel decided, and because of what.

use std::collections::BTreeMap;

use super::super::tally::Reason;
use machine::Outcome;
use machine::ResourceName;
use machine::Source;

/// What is decided on, for the record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trigger {
    pub(super) reason: Reason,
    pub(super) by: By,
}

/// Who or what makes something happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Somebody who reports.
    Report,
    Operator,
    /// Another instance, which raised it.
    Instance,
    /// An action that ended, or time that passed.
    Clockwork,
}

impl By {
    pub(super) fn of(source: &Source) -> Self {
        match source {
            Source::Face(_) => Self::Report,
            Source::Operator => Self::Operator,
            Source::Instance(_) => Self::Instance,
            Source::Action => Self::Clockwork,
        }
    }
}

/// What one instance decided.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) outcome: Outcome,
    /// Whether a state was entered anew and its actions go on.
    pub(super) is_kept: bool,
    /// Whether there is another deadline than before.
    pub(super) is_armed_anew: bool,
    /// What is held from here on, where that is not what it was.
    pub(super) holds: Option<BTreeMap<ResourceName, u32>>,
}

/// What was decided because of what an instance raised, there or by itself.
#[derive(Debug)]
pub(super) struct RaisedStep {
    pub(super) id: usize,
    pub(super) decided: Decided,
    pub(super) trigger: Trigger,
}

/// What an instance decided, and all that was decided because of it, in order: one transaction.
#[derive(Debug)]
pub(super) struct Decisions {
    pub(super) own: Decided,
    pub(super) raised: Vec<RaisedStep>,
}

impl Trigger {
    pub(super) const DEADLINE: Self = Self { reason: Reason::Deadline, by: By::Clockwork };
    pub(super) const CREATED: Self = Self { reason: Reason::Created, by: By::Clockwork };
}

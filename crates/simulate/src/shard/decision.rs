//! What the kernel decided, and because of what.

use std::collections::BTreeMap;

use super::super::tally::UnavailabilityCause;
use machine::EventSource;
use machine::Outcome;
use machine::ResourceName;

/// What is decided on, for the record.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecisionTrigger {
    pub(super) reason: UnavailabilityCause,
    pub(super) by: DecisionInitiator,
}

/// Who or what makes something happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecisionInitiator {
    /// Somebody who reports.
    Report,
    Operator,
    /// Another instance, which raised it.
    Instance,
    /// An action that ended, or time that passed.
    ActionOrDeadline,
}

impl DecisionInitiator {
    pub(super) fn of(source: &EventSource) -> Self {
        match source {
            EventSource::Face(_) => Self::Report,
            EventSource::Operator => Self::Operator,
            EventSource::Instance(_) => Self::Instance,
            EventSource::Action => Self::ActionOrDeadline,
        }
    }
}

/// What one instance decided.
#[derive(Debug)]
pub(super) struct InstanceDecision {
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
pub(super) struct RaisedDecision {
    pub(super) id: usize,
    pub(super) decided: InstanceDecision,
    pub(super) trigger: DecisionTrigger,
}

/// What an instance decided, and all that was decided because of it, in order: one transaction.
#[derive(Debug)]
pub(super) struct TransactionDecisions {
    pub(super) own: InstanceDecision,
    pub(super) raised: Vec<RaisedDecision>,
}

impl DecisionTrigger {
    pub(super) const DEADLINE: Self =
        Self { reason: UnavailabilityCause::Deadline, by: DecisionInitiator::ActionOrDeadline };
    pub(super) const CREATED: Self =
        Self { reason: UnavailabilityCause::Created, by: DecisionInitiator::ActionOrDeadline };
}

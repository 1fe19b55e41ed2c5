//! Decisions of the kernel with their triggers.

use std::collections::BTreeMap;

use super::super::tally::UnavailabilityCause;
use machine::EventSource;
use machine::Outcome;
use machine::ResourceName;

/// The trigger of a decision, for counting.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecisionTrigger {
    pub(super) reason: UnavailabilityCause,
    pub(super) by: DecisionInitiator,
}

/// The initiator of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecisionInitiator {
    /// A report.
    Report,
    Operator,
    /// Another instance that raised the event.
    Instance,
    /// The end of an action, or a deadline.
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

/// The decision of one instance.
#[derive(Debug)]
pub(super) struct InstanceDecision {
    pub(super) outcome: Outcome,
    /// Whether the state was re-entered and its actions continue.
    pub(super) is_kept: bool,
    /// Whether the deadline changed.
    pub(super) is_rearmed: bool,
    /// The units held from now on, if they changed.
    pub(super) holds: Option<BTreeMap<ResourceName, u32>>,
}

/// The decision on a raised event.
#[derive(Debug)]
pub(super) struct RaisedDecision {
    pub(super) id: usize,
    pub(super) decision: InstanceDecision,
    pub(super) trigger: DecisionTrigger,
}

/// The decision of an instance and those that follow from it, in order, as one transaction.
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

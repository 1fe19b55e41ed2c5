//! What a condition may name, when it is looked at, and how what is wrong with it is told.

use std::collections::BTreeSet;

use crate::names::CounterName;
use crate::rule::Rule;
use crate::vocabulary::FactObject;

/// What is wrong with a condition, and at which of its characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuardFault {
    /// Which character, from 0.
    pub(crate) offset: usize,
    /// The rule that is broken.
    pub(crate) rule: Rule,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

/// What a condition may name, and when it is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardScope<'a> {
    /// The counters of the definition.
    pub(crate) counters: &'a BTreeSet<CounterName>,
    /// The objects by which facts are read.
    pub(crate) facts: &'a [FactObject],
    /// When it is looked at.
    pub(crate) evaluated_on: GuardEvaluation,
}

/// When a condition is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuardEvaluation {
    /// Somebody sends an event: models can be asked before anything is decided.
    Event,
    /// An action ends.
    ActionEnd,
    /// Another instance raises an event, in the midst of a decision.
    Raised,
    /// A state is entered (`always`).
    Entry,
}

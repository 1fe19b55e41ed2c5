//! Names that a condition may use, when it is evaluated, and how faults are reported.

use std::collections::BTreeSet;

use crate::names::CounterName;
use crate::rule::Rule;
use crate::vocabulary::FactObject;

/// A fault in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuardFault {
    /// The offset in characters, from 0.
    pub(crate) offset: usize,
    /// The violated rule.
    pub(crate) rule: Rule,
    /// What is wrong, and how to correct it.
    pub(crate) message: String,
}

/// The names that a condition may use, and when it is evaluated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardScope<'a> {
    /// The counters of the definition.
    pub(crate) counters: &'a BTreeSet<CounterName>,
    /// The objects by which facts are read.
    pub(crate) facts: &'a [FactObject],
    /// When it is evaluated.
    pub(crate) evaluated_on: GuardEvaluation,
}

/// When a condition is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuardEvaluation {
    /// An event arrives: models can be asked before the decision.
    Event,
    /// An action finishes.
    ActionEnd,
    /// Another instance raises an event, in the middle of a decision.
    Raised,
    /// A state is entered (`always`).
    Entry,
}

//! `clear: NAME` and `clear: counters`: sets a counter, or all of them, back to the initial value.

use super::context::OperationContext;
use super::names::OperationNames;
use super::operation_kind::{CounterEffect, OperationKind};
use crate::fault::FaultCollector;
use crate::names::CounterName;
use crate::parse_helpers::required_name;
use crate::source::SourceNode;

/// The keyword for all counters, which is no name for a single one.
pub(super) const ALL_COUNTERS: &str = "counters";

/// Clears counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClearOperation {
    /// All counters.
    All,
    /// One counter.
    One(CounterName),
}

impl OperationKind for ClearOperation {
    const KEY: &'static str = "clear";

    fn parse(node: &SourceNode, _: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self> {
        if node.as_text() == Some(ALL_COUNTERS) {
            return Some(Self::All);
        }
        required_name(node, "a counter, or `counters` for all", faults).map(Self::One)
    }

    fn counter(node: &SourceNode) -> Option<&str> {
        node.as_text().filter(|name| *name != ALL_COUNTERS)
    }

    fn apply(&self, change: &mut OperationContext<'_>) {
        match self {
            Self::All => change.instance.counters.clear(),
            Self::One(counter) => _ = change.instance.counters.remove(counter),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::All => format!("clear {ALL_COUNTERS}"),
            Self::One(counter) => format!("clear {counter}"),
        }
    }

    fn counter_effect(&self) -> CounterEffect<'_> {
        match self {
            Self::All => CounterEffect::ClearsAll,
            Self::One(counter) => CounterEffect::Clears(counter),
        }
    }
}

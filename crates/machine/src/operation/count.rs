//! `count: NAME`: adds one to a counter.

use super::context::OperationContext;
use super::clear::ALL_COUNTERS;
use super::names::OperationNames;
use super::operation_kind::{CounterEffect, OperationKind};
use crate::fault::FaultCollector;
use crate::names::CounterName;
use crate::parse_helpers::required_name;
use crate::rule::Rule;
use crate::source::SourceNode;

/// Increments a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountOperation(pub CounterName);

impl OperationKind for CountOperation {
    const KEY: &'static str = "count";

    fn parse(node: &SourceNode, _: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self> {
        if node.as_text() == Some(ALL_COUNTERS) {
            faults.add(node.at, Rule::Form, "`counters` means all of them: name the one to count");
            return None;
        }
        required_name(node, "a counter", faults).map(Self)
    }

    fn counter(node: &SourceNode) -> Option<&str> {
        node.as_text().filter(|name| *name != ALL_COUNTERS)
    }

    fn apply(&self, change: &mut OperationContext<'_>) {
        change.count(&self.0);
    }

    fn describe(&self) -> String {
        format!("count {}", self.0)
    }

    fn counter_effect(&self) -> CounterEffect<'_> {
        CounterEffect::Counts(&self.0)
    }
}

//! `count: NAME`: adds one to a counter.

use super::change::Change;
use super::clear::ALL;
use super::names::Names;
use super::operate::{OnCounters, Operate};
use crate::fault::Collector;
use crate::names::CounterName;
use crate::reading::name;
use crate::rule::Rule;
use crate::source::Node;

/// The counter that grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count(pub CounterName);

impl Operate for Count {
    const KEY: &'static str = "count";

    fn parse(node: &Node, _: Names<'_>, faults: &mut Collector) -> Option<Self> {
        if node.as_text() == Some(ALL) {
            faults.add(node.at, Rule::Form, "`counters` means all of them: name the one to count");
            return None;
        }
        name(node, "a counter", faults).map(Self)
    }

    fn counter(node: &Node) -> Option<&str> {
        node.as_text().filter(|name| *name != ALL)
    }

    fn apply(&self, change: &mut Change<'_>) {
        change.count(&self.0);
    }

    fn describe(&self) -> String {
        format!("count {}", self.0)
    }

    fn on_counters(&self) -> OnCounters<'_> {
        OnCounters::Counts(&self.0)
    }
}

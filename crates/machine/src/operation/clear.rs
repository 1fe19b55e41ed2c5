//! `clear: NAME` and `clear: counters`: a counter, or all of them, begin anew.

use super::change::Change;
use super::names::Names;
use super::operate::{OnCounters, Operate};
use crate::fault::Collector;
use crate::names::CounterName;
use crate::reading::name;
use crate::source::Node;

/// What stands for all counters, so that no single one can be called that.
pub(super) const ALL: &str = "counters";

/// The counters that begin anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clear {
    /// All of them.
    All,
    /// This one.
    One(CounterName),
}

impl Operate for Clear {
    const KEY: &'static str = "clear";

    fn parse(node: &Node, _: Names<'_>, faults: &mut Collector) -> Option<Self> {
        if node.as_text() == Some(ALL) {
            return Some(Self::All);
        }
        name(node, "a counter, or `counters` for all", faults).map(Self::One)
    }

    fn counter(node: &Node) -> Option<&str> {
        node.as_text().filter(|name| *name != ALL)
    }

    fn apply(&self, change: &mut Change<'_>) {
        match self {
            Self::All => change.instance.counters.clear(),
            Self::One(counter) => _ = change.instance.counters.remove(counter),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::All => format!("clear {ALL}"),
            Self::One(counter) => format!("clear {counter}"),
        }
    }

    fn on_counters(&self) -> OnCounters<'_> {
        match self {
            Self::All => OnCounters::ClearsAll,
            Self::One(counter) => OnCounters::Clears(counter),
        }
    }
}

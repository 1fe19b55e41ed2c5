//! Where counters begin.

use std::collections::BTreeMap;

use super::known_names::KnownNames;
use crate::fault::FaultCollector;
use crate::names::CounterName;
use crate::rule::Rule;
use crate::source::{SourceContent, SourceNode};

/// Where counters begin that do not begin at zero.
pub(super) fn initial_counts(
    node: &SourceNode,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> BTreeMap<CounterName, i64> {
    let mut beginnings = BTreeMap::new();
    for (key, node) in node.entries("a mapping from counters to where they begin", faults) {
        let Some(counter) = known.counters.get(key.text.as_str()) else {
            let counters = known.counters.iter().map(CounterName::as_str);
            faults.add_unknown(key.at, Rule::UnknownCounter, "counter", &key.text, counters);
            continue;
        };
        let begins = match &node.content {
            SourceContent::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            SourceContent::Null
            | SourceContent::Bool(_)
            | SourceContent::Text(_)
            | SourceContent::List(_)
            | SourceContent::Map(_) => None,
        };
        match begins {
            Some(begins) => _ = beginnings.insert(counter.clone(), i64::from(begins)),
            None => {
                faults.add(node.at, Rule::Form, "a counter begins at a whole number from 0 to 4294967295");
            }
        }
    }
    beginnings
}

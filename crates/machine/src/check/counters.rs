//! Initial values of counters: `counters:`.

use std::collections::BTreeMap;

use super::known_names::KnownNames;
use crate::fault::FaultCollector;
use crate::names::CounterName;
use crate::rule::Rule;
use crate::source::{SourceContent, SourceNode};

/// Parses the initial values of counters that do not start at zero.
pub(super) fn initial_counts(
    node: &SourceNode,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> BTreeMap<CounterName, i64> {
    let mut initial_counts = BTreeMap::new();
    for (key, node) in node.entries("a mapping from counters to initial values", faults) {
        let Some(counter) = known.counters.get(key.text.as_str()) else {
            let counters = known.counters.iter().map(CounterName::as_str);
            faults.add_unknown(key.at, Rule::UnknownCounter, "counter", &key.text, counters);
            continue;
        };
        let initial = match &node.content {
            SourceContent::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            SourceContent::Null
            | SourceContent::Bool(_)
            | SourceContent::Text(_)
            | SourceContent::List(_)
            | SourceContent::Map(_) => None,
        };
        match initial {
            Some(initial) => _ = initial_counts.insert(counter.clone(), i64::from(initial)),
            None => {
                faults.add(
                    node.at,
                    Rule::Form,
                    "the initial value of a counter is a whole number from 0 to 4294967295",
                );
            }
        }
    }
    initial_counts
}

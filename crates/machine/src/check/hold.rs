//! The resources that a state holds: `hold:`.

use std::collections::BTreeMap;

use super::known_names::KnownNames;
use crate::definition::State;
use crate::fault::FaultCollector;
use crate::names::{ResourceName, StateName};
use crate::resource::ResourceDeclaration;
use crate::rule::Rule;
use crate::source::{SourceContent, SourceKey, SourceNode};

/// Parses the units of each resource.
pub(super) fn check(
    node: &SourceNode,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> BTreeMap<ResourceName, u32> {
    let mut held = BTreeMap::new();
    for (key, node) in node.entries("a mapping from resources to units", faults) {
        let units = match &node.content {
            SourceContent::Number(number) => {
                number.as_u64().and_then(|units| i32::try_from(units).ok()?.try_into().ok())
            }
            SourceContent::Null
            | SourceContent::Bool(_)
            | SourceContent::Text(_)
            | SourceContent::List(_)
            | SourceContent::Map(_) => None,
        };
        let units: Option<u32> = units.filter(|units| *units > 0);
        if units.is_none() {
            faults.add(node.at, Rule::Form, "a state holds 1 to 2147483647 units of a resource");
        }
        let Some((name, ResourceDeclaration { capacity, .. })) =
            known.resources.get_key_value(key.text.as_str())
        else {
            let names = known.resources.keys().map(ResourceName::as_str);
            faults.add_unknown(key.at, Rule::UnknownResource, "resource", &key.text, names);
            continue;
        };
        match (units, capacity) {
            // A capacity of zero takes a resource out of use.
            (Some(units), Some(capacity @ 1..)) if units > *capacity => {
                let message = format!("{units} units of `{name}` are held, but its capacity is {capacity}");
                faults.add(node.at, Rule::Form, message);
            }
            (Some(units), _) => _ = held.insert(name.clone(), units),
            (None, _) => {}
        }
    }
    held
}

/// Refuses states that hold different amounts of one resource: a hold is kept or released as a whole.
pub(super) fn refuse_different(
    written: &[(SourceKey, SourceNode)],
    states: &BTreeMap<StateName, State>,
    faults: &mut FaultCollector,
) {
    let mut first: BTreeMap<&ResourceName, (&str, u32)> = BTreeMap::new();
    for (key, node) in written {
        let held = states.get(key.text.as_str()).into_iter().flat_map(|state| &state.hold);
        for (name, units) in held {
            let (other, as_much) = *first.entry(name).or_insert((&key.text, *units));
            if as_much != *units {
                let at = node.child("hold").map_or(key.at, |(key, _)| key.at);
                let message = format!(
                    "{units} units of `{name}` are held here, and {as_much} in `{other}`: hold as many in all states"
                );
                faults.add(at, Rule::Form, message);
            }
        }
    }
}

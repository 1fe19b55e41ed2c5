//! What others call states, and what states were called before.

use std::collections::BTreeMap;

use super::known_names::KnownNames;
use crate::definition::State;
use crate::fault::FaultCollector;
use crate::names::StateName;
use crate::parse_helpers::valid_name;
use crate::rule::Rule;
use crate::source::{SourceKey, SourceNode};

/// What states of earlier versions are called now.
pub(super) fn renamed(
    node: &SourceNode,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> BTreeMap<StateName, StateName> {
    let mut renamed = BTreeMap::new();
    for (key, node) in node.entries("a mapping from old names of states to new ones", faults) {
        let new = known.state(node, "state", faults);
        if known.has_state(&key.text) {
            let message = format!("`{}` is a state of this version: it cannot be an old name too", key.text);
            faults.add(key.at, Rule::Form, message);
        }
        if let (Some(old), Some(new)) = (valid_name(key.at, StateName::new(&key.text), faults), new) {
            renamed.insert(old, new);
        }
    }
    renamed
}

/// Refuses two states that others would call the same.
pub(super) fn refuse_equal(
    written: &[(SourceKey, SourceNode)],
    states: &BTreeMap<StateName, State>,
    faults: &mut FaultCollector,
) {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, _) in written {
        let label = states.get(key.text.as_str()).and_then(|state| state.label.as_deref());
        let label = label.unwrap_or(&key.text);
        if let Some(other) = taken.insert(label, &key.text).filter(|other| *other != key.text) {
            let message = format!("`{}` and `{other}` are both called {label:?}", key.text);
            faults.add(key.at, Rule::Form, message);
        }
    }
}

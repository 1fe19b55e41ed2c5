//! Labels of states, and names that states had before.

use std::collections::BTreeMap;

use super::known_names::KnownNames;
use crate::definition::State;
use crate::fault::FaultCollector;
use crate::names::StateName;
use crate::parse_helpers::valid_name;
use crate::rule::Rule;
use crate::source::{SourceKey, SourceNode};

/// The maximum length of a label, in characters: one line of a page or table.
const MAX_LABEL_CHARS: usize = 200;

/// Parses a state's label.
pub(super) fn label(node: &SourceNode, faults: &mut FaultCollector) -> Option<String> {
    let text = node.text("the label of the state", faults)?;
    if text.chars().count() > MAX_LABEL_CHARS || text.chars().any(char::is_control) {
        let message = format!("a label has at most {MAX_LABEL_CHARS} characters, and no control characters");
        faults.add(node.at, Rule::Label, message);
    }
    Some(text.to_owned())
}

/// Parses the names of earlier versions, with the current names.
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

/// Refuses two states that people could not tell apart.
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
            let message = format!("`{}` and `{other}` both have the label {label:?}", key.text);
            faults.add(key.at, Rule::Form, message);
        }
    }
}

//! The operations in a definition's text, before they are parsed.

use crate::source::{SourceKey, SourceNode};

/// Returns the operations of a state as keys and values.
pub(super) fn operations(state: &SourceNode) -> Vec<(&SourceKey, &SourceNode)> {
    let mut found = Vec::new();
    if let Some((_, entry)) = state.child("entry") {
        add_all(entry, &mut found);
    }
    if let Some((_, always)) = state.child("always") {
        add_transitions(always, &mut found);
    }
    for (_, transitions) in state.child("on").map_or(&[][..], |(_, on)| on.members()) {
        add_transitions(transitions, &mut found);
    }
    found
}

fn add_transitions<'n>(transitions: &'n SourceNode, found: &mut Vec<(&'n SourceKey, &'n SourceNode)>) {
    for transition in transitions.one_or_many() {
        if let Some((_, operations)) = transition.child("do") {
            add_all(operations, found);
        }
    }
}

fn add_all<'n>(operations: &'n SourceNode, found: &mut Vec<(&'n SourceKey, &'n SourceNode)>) {
    for operation in operations.one_or_many() {
        found.extend(operation.members().iter().map(|(key, node)| (key, node)));
    }
}

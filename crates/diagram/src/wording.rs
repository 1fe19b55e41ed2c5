//! Texts that all diagrams use.

use formatting::count;
use machine::{Definition, StateKind};

/// A kind in one word, for class names and texts.
pub(crate) fn kind_word(kind: StateKind) -> &'static str {
    match kind {
        StateKind::Working => "working",
        StateKind::Resting => "resting",
        StateKind::Failed => "failed",
        StateKind::Final => "final",
    }
}

/// The number of states of each kind: `33 states: 4 resting, 14 working, 15 failed`.
pub(crate) fn summary(definition: &Definition) -> String {
    let kinds = [StateKind::Resting, StateKind::Working, StateKind::Failed, StateKind::Final];
    let kinds = kinds.iter().filter_map(|kind| {
        let states = definition.states.values().filter(|state| state.kind == *kind).count();
        (states > 0).then(|| format!("{states} {}", kind_word(*kind)))
    });
    let kinds: Vec<String> = kinds.collect();
    format!("{}: {}", count(definition.states.len(), "state"), kinds.join(", "))
}

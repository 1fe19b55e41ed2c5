//! Words that all drawings use.

use machine::{Definition, StateKind};

/// A kind in one word, for classes and for people.
pub(crate) fn kind_word(kind: StateKind) -> &'static str {
    match kind {
        StateKind::Working => "working",
        StateKind::Resting => "resting",
        StateKind::Failed => "failed",
        StateKind::Final => "final",
    }
}

/// How many states of each kind there are: `33 states: 4 resting, 14 working, 15 failed`.
pub(crate) fn summary(definition: &Definition) -> String {
    let of = |kind| definition.states.values().filter(|state| state.kind == kind).count();
    let kinds = [StateKind::Resting, StateKind::Working, StateKind::Failed, StateKind::Final]
        .map(|kind| (of(kind), kind));
    let kinds = kinds.iter().filter(|(count, _)| *count > 0);
    let kinds: Vec<String> = kinds.map(|(count, kind)| format!("{count} {}", kind_word(*kind))).collect();
    format!("{}: {}", counted(definition.states.len(), "state"), kinds.join(", "))
}

/// A number of things: `1 state`, `2 states`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

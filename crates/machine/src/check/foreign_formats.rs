//! Files of other programs that are mistaken for definitions: each is named, with advice.

use crate::source::{SourceContent, SourceNode};

/// Returns which other format `text`, parsed as `root` if it is YAML, is recognised as; `None` if it may be a
/// definition.
pub(super) fn describe(text: &str, root: Option<&SourceNode>) -> Option<String> {
    if root.is_some_and(|root| root.child("machine").is_some()) {
        return None;
    }
    let by_shape = root.and_then(recognize_shape);
    by_shape.or_else(|| recognize_text(text)).map(|(format, advice)| format!("this is {format}: {advice}"))
}

const IMPORT_ADVICE: &str = "`lifeguard machine import FILE` translates it";
const REWRITE_ADVICE: &str = "it cannot be imported; write a definition with `machine`, `initial` and `states`, as `lifeguard machine check --explain form` shows";

fn recognize_shape(root: &SourceNode) -> Option<(&'static str, &'static str)> {
    let has = |key| root.child(key).is_some();
    let states = root.child("states").map(|(_, states)| &states.content);
    match states {
        Some(SourceContent::List(_)) if has("current_state") => Some(("a StateService file", IMPORT_ADVICE)),
        Some(SourceContent::List(states))
            if states
                .iter()
                .any(|state| state.child("func").is_some() || state.child("target").is_some()) =>
        {
            Some(("a StateService file", IMPORT_ADVICE))
        }
        Some(SourceContent::List(_)) if has("transitions") => {
            Some(("a state machine of Python's `transitions` package", REWRITE_ADVICE))
        }
        Some(SourceContent::Map(_)) if has("id") || has("context") || has("predictableActionArguments") => {
            Some(("an XState machine", REWRITE_ADVICE))
        }
        _ if has("StartAt") && has("States") => Some(("an Amazon States Language file", REWRITE_ADVICE)),
        _ => None,
    }
}

fn recognize_text(text: &str) -> Option<(&'static str, &'static str)> {
    let begins = |words: &[&str]| {
        text.lines().map(str::trim_start).any(|line| words.iter().any(|word| line.starts_with(word)))
    };
    if begins(&["%start ", "%map ", "%fsmclass "]) {
        Some(("a State Machine Compiler (SMC) file", REWRITE_ADVICE))
    } else if text.contains("createMachine(")
        || text.contains("from 'xstate'")
        || text.contains("from \"xstate\"")
    {
        Some(("an XState machine", REWRITE_ADVICE))
    } else if begins(&["<scxml"]) {
        Some(("an SCXML file", REWRITE_ADVICE))
    } else if text.contains("from transitions import") {
        Some(("a state machine of Python's `transitions` package", REWRITE_ADVICE))
    } else {
        None
    }
}

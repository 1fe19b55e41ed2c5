//! Drawings of a definition: for [Mermaid](mermaid()), for [Graphviz](dot()), and a finished picture ([SVG](svg())).
//!
//! A lifecycle is mostly a few long ways with many ways back and many ways to fail, and as a plain graph it becomes a
//! ball of wool. So all three say once what many states share, and the picture is laid out in lanes:
//!
//! ```text
//!   requests that many states take   states of rest
//!
//!   ┌─ lane ─────────────────────┐  ┌─ lane ───────
//!   │        ↓ what leads here   │  │
//!   │  ┌───────────┐  ┌────────┐ │  │    time flows down the lanes;
//!   │ ┌┤ working   ├──┤ failed │ │  │    ways back run on the left,
//!   │ │└─────┬─────┘  └────────┘ │  │    failures stand to the right;
//!   │ │      ↓ event             │  │    what happens within a state
//!   │ │┌───────────┐  ┌────────┐ │  │    is a line in its box
//!   │ └┤ working   ├──┤ failed │ │  │
//! ```
//!
//! Texts stand in boxes and in rows kept for them, lines run in channels kept for them, so that no text can meet another
//! or a line, whatever the definition. Pure as all of the kernel: the same definition and marks give the same drawing.

mod cards;
mod contents;
mod dot;
mod draw;
mod graph;
mod grid;
mod lanes;
mod layout;
mod mermaid;
mod routes;
mod scene;
mod svg;
mod text;
mod top;

use std::collections::BTreeMap;

use super::definition::{Definition, Kind};
use super::names::StateName;

pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::{Picture, STYLE as DIAGRAM_STYLE, svg};

/// What a picture shows of instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// The state to light up: that of the one instance that is looked at.
    pub present: Option<StateName>,
    /// How many instances are in each state; a state that is not here, or has none, shows no number.
    pub counts: BTreeMap<StateName, u64>,
}

/// A kind in one word, for classes and for people.
fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Working => "working",
        Kind::Resting => "resting",
        Kind::Failed => "failed",
        Kind::Final => "final",
    }
}

/// How many states of each kind there are: `33 states: 4 resting, 14 working, 15 failed`.
fn summary(definition: &Definition) -> String {
    let of = |kind| definition.states.values().filter(|state| state.kind == kind).count();
    let kinds = [Kind::Resting, Kind::Working, Kind::Failed, Kind::Final].map(|kind| (of(kind), kind));
    let kinds = kinds.iter().filter(|(count, _)| *count > 0);
    let kinds: Vec<String> = kinds.map(|(count, kind)| format!("{count} {}", kind_word(*kind))).collect();
    format!("{}: {}", counted(definition.states.len(), "state"), kinds.join(", "))
}

/// A number of things: `1 state`, `2 states`.
fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

#[cfg(test)]
mod tests;

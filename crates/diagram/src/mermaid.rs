//! A definition as a Mermaid state diagram.

use std::fmt::{self, Write};

use super::graph::{DiagramGraph, EdgeLabel, TransitionTrigger};
use super::wording::kind_word;
use machine::{Definition, StateKind};

const MERMAID_CLASSES: &str = "  classDef resting fill:#e9f6ee,stroke:#1c7d46,color:#1d2330
  classDef working fill:#ffffff,stroke:#5a6473,color:#1d2330
  classDef failed fill:#fcedeb,stroke:#b3261e,color:#1d2330
  classDef final fill:#ffffff,stroke:#1d2330,stroke-width:3px,color:#1d2330
  classDef shared fill:#f7effb,stroke:#7a2ea8,stroke-dasharray:5 3,color:#1d2330
";

/// Draws `definition` as a Mermaid state diagram.
#[must_use]
pub fn mermaid(definition: &Definition) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_graph(&mut out, &DiagramGraph::new(definition));
    out
}

fn write_graph(out: &mut String, graph: &DiagramGraph<'_>) -> fmt::Result {
    writeln!(out, "---\ntitle: {}\n---\nstateDiagram-v2\n  direction TB", graph.definition.machine)?;
    out.write_str(MERMAID_CLASSES)?;
    let reporters = graph.reporters();
    let plain = |label: &EdgeLabel| plain_label(label, &reporters);
    for (index, shared) in graph.shared.iter().enumerate() {
        writeln!(
            out,
            "  state \"{}: {}\" as shared{index}\n  class shared{index} shared",
            shared.tag, shared.states
        )?;
    }
    for (node, state) in graph.nodes.iter().enumerate() {
        let name = graph.name(node);
        // A name may be a keyword of Mermaid, so states are identified by number.
        writeln!(out, "  state \"{name}\" as s{node}\n  class s{node} {}", kind_word(state.state.kind))?;
        for shared in &state.shared {
            writeln!(out, "  s{node}: takes {}", graph.shared[*shared].tag)?;
        }
        for action in &state.state.invoke {
            writeln!(out, "  s{node}: runs {}", action.action)?;
        }
        for label in &state.inner {
            writeln!(out, "  s{node}: {}", plain(label))?;
        }
    }
    writeln!(out, "  [*] --> s{}", graph.initial)?;
    for (index, shared) in graph.shared.iter().enumerate() {
        for (label, targets) in &shared.edges {
            for target in targets {
                writeln!(out, "  shared{index} --> s{target}: {}", plain(label))?;
            }
        }
    }
    for edge in &graph.edges {
        let labels: Vec<String> = edge.labels.iter().map(&plain).collect();
        writeln!(out, "  s{} --> s{}: {}", edge.from, edge.to, labels.join(", "))?;
    }
    for node in (0..graph.nodes.len()).filter(|node| graph.kind(*node) == StateKind::Final) {
        writeln!(out, "  s{node} --> [*]")?;
    }
    Ok(())
}

/// A label with its senders, without characters that Mermaid would interpret.
fn plain_label(label: &EdgeLabel, reporters: &str) -> String {
    let name = |trigger: &TransitionTrigger| match trigger {
        TransitionTrigger::Report => reporters,
        TransitionTrigger::Operator
        | TransitionTrigger::Action
        | TransitionTrigger::Time
        | TransitionTrigger::Entry => trigger.word(),
    };
    let senders: Vec<&str> = label.senders.iter().map(name).collect();
    // A colon ends a label, a semicolon a statement.
    let text = label.text.replace(": ", " ").replace(':', ".").replace(';', ",");
    format!("{text} ({})", senders.join(", "))
}

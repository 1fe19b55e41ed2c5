//! A definition as a Graphviz graph.

use std::fmt::{self, Write};

use super::graph::{DiagramGraph, EdgeLabel, TransitionTrigger};
use super::lanes::{LaneRole, Lanes};
use super::text::{TextFont, wrapped};
use machine::{Definition, StateKind};

const DOT_PREAMBLE: &str = "  rankdir=TB; newrank=true; labelloc=t; fontname=\"Helvetica\";
  node [fontname=\"Helvetica\", fontsize=11, style=filled, shape=box];
  edge [fontname=\"Helvetica\", fontsize=10];
";
/// The width at which the list of the states that share requests is broken into lines.
const STATE_LIST_WIDTH: i32 = 240;

/// Draws `definition` as a graph in Graphviz's DOT language.
#[must_use]
pub fn dot(definition: &Definition) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_graph(&mut out, &DiagramGraph::new(definition));
    out
}

fn write_graph(out: &mut String, graph: &DiagramGraph<'_>) -> fmt::Result {
    let lanes = Lanes::new(graph);
    writeln!(out, "digraph \"{0}\" {{\n  label=\"{0}\";", graph.definition.machine)?;
    out.write_str(DOT_PREAMBLE)?;
    for node in (0..graph.nodes.len()).filter(|node| lanes.roles[*node] == LaneRole::Top) {
        write_state(out, graph, node, "  ")?;
    }
    for (index, lane) in lanes.all.iter().enumerate() {
        writeln!(out, "  subgraph cluster_{index} {{\n    label=\"\"; color=\"#c8cdd5\";")?;
        for &node in lane {
            write_state(out, graph, node, "    ")?;
            for side in (0..graph.nodes.len()).filter(|side| lanes.roles[*side] == LaneRole::Side(node)) {
                write_state(out, graph, side, "    ")?;
            }
        }
        writeln!(out, "  }}")?;
    }
    write_shared(out, graph)?;
    // No state's name contains brackets.
    writeln!(out, "  \"(begin)\" [shape=point, label=\"\"];")?;
    writeln!(out, "  \"(begin)\" -> \"{}\";", graph.name(graph.initial))?;
    for (edge, is_back) in graph.edges.iter().zip(&lanes.is_back) {
        let (from, to) = (graph.name(edge.from), graph.name(edge.to));
        // Edges back, to resting states and out of failed ones do not constrain the order.
        let rank = if *is_back || !lanes.is_drawn(edge) { ", constraint=false" } else { "" };
        writeln!(out, "  \"{from}\" -> \"{to}\" [{}{rank}];", edge_style(&edge.labels))?;
    }
    writeln!(out, "}}")
}

fn write_shared(out: &mut String, graph: &DiagramGraph<'_>) -> fmt::Result {
    for shared in &graph.shared {
        let states = wrapped(&shared.states, TextFont::Line, STATE_LIST_WIDTH).join("\\n");
        let style = "style=dashed, color=\"#7a2ea8\"";
        writeln!(out, "  \"({0})\" [label=\"{0}: {states}\", {style}];", shared.tag)?;
        for (label, targets) in &shared.edges {
            for target in targets {
                let name = graph.name(*target);
                writeln!(out, "  \"({})\" -> \"{name}\" [{}];", shared.tag, edge_style([label]))?;
            }
        }
    }
    Ok(())
}

fn write_state(out: &mut String, graph: &DiagramGraph<'_>, node: usize, indent: &str) -> fmt::Result {
    let style = match graph.kind(node) {
        StateKind::Resting => "style=\"filled,rounded\", fillcolor=\"#e9f6ee\", color=\"#1c7d46\"",
        StateKind::Working => "fillcolor=\"#ffffff\", color=\"#5a6473\"",
        StateKind::Failed => "shape=octagon, fillcolor=\"#fcedeb\", color=\"#b3261e\"",
        StateKind::Final => "peripheries=2, fillcolor=\"#ffffff\", color=\"#1d2330\"",
    };
    let mut lines = vec![graph.name(node).to_owned()];
    let state = &graph.nodes[node];
    lines.extend(state.state.invoke.iter().map(|invoke| format!("runs {}", invoke.action)));
    lines.extend(state.inner.iter().map(|label| label.text.clone()));
    let tags: Vec<&str> = state.shared.iter().map(|shared| graph.shared[*shared].tag.as_str()).collect();
    if !tags.is_empty() {
        lines.push(format!("takes {}", tags.join(", ")));
    }
    writeln!(out, "{indent}\"{}\" [label=\"{}\", {style}];", graph.name(node), lines.join("\\n"))
}

/// The attributes of an edge: its labels, in the colour of the first label's sender.
fn edge_style<'l>(labels: impl IntoIterator<Item = &'l EdgeLabel> + Clone) -> String {
    let colour = match labels.clone().into_iter().next().and_then(|label| label.senders.first()) {
        Some(TransitionTrigger::Report) => "#1559b8",
        Some(TransitionTrigger::Operator) => "#7a2ea8",
        Some(TransitionTrigger::Action) => "#08746b",
        Some(TransitionTrigger::Time) => "#985000",
        Some(TransitionTrigger::Entry) | None => "#626b7a",
    };
    let texts: Vec<&str> = labels.into_iter().map(|label| label.text.as_str()).collect();
    format!("label=\"{}\", color=\"{colour}\", fontcolor=\"{colour}\"", texts.join("\\n"))
}

//! Texts: in the box of each state, above it, and below the last state of a lane.

use std::collections::{BTreeMap, BTreeSet};

use super::cards::{Card, CardItem, add, note};
use super::graph::{DiagramEdge, DiagramGraph, EdgeLabel, TransitionTrigger};
use super::lanes::{LaneRole, Lanes};
use super::routes::{ChannelSide, LineRoutes};
use super::text::{TextFont, wrapped};
use super::wording::kind_word;
use formatting::count;
use machine::EventName;
use machine::{State, StateKind};

/// Width at which the list of a state's actions is broken into lines.
const ACTIONS_WIDTH: i32 = 230;
/// How many states are named before they are counted.
const MAX_NAMED_STATES: usize = 2;

/// The exit from the last state of a lane to a resting state.
#[derive(Debug)]
pub(super) struct LaneExit {
    pub(super) target: usize,
    pub(super) items: Vec<CardItem>,
}

/// All texts of a diagram.
#[derive(Debug)]
pub(super) struct DiagramTexts {
    /// The box of each state.
    pub(super) cards: Vec<Card>,
    /// Items beside the line into a state of a lane.
    pub(super) entries: BTreeMap<usize, Vec<CardItem>>,
    /// Exits from last states of lanes to resting states.
    pub(super) exits: BTreeMap<usize, LaneExit>,
}

impl DiagramTexts {
    pub(super) fn new(graph: &DiagramGraph<'_>, lanes: &Lanes, routes: &LineRoutes) -> Self {
        let below = lanes.below();
        let mut contents = Self {
            cards: (0..graph.nodes.len()).map(|node| card(graph, node)).collect(),
            entries: BTreeMap::new(),
            exits: BTreeMap::new(),
        };
        let mut edges: Vec<(usize, &DiagramEdge)> = graph.edges.iter().enumerate().collect();
        edges.sort_by_key(|(_, edge)| edge.kind);
        for (index, edge) in edges {
            let items = edge.labels.iter().map(CardItem::new);
            if below.get(&edge.from) == Some(&edge.to) {
                contents.entries.entry(edge.to).or_default().extend(items);
                continue;
            }
            let card = &mut contents.cards[edge.from];
            if let Some(route) = routes.by_edge.get(&index) {
                let side = match route.exit.1 {
                    ChannelSide::Left => &mut card.left,
                    ChannelSide::Middle => &mut card.right,
                };
                items.for_each(|item| add(side, CardItem { edges: vec![index], ..item }));
            } else if lanes.roles[edge.from] == LaneRole::Lane
                && !below.contains_key(&edge.from)
                && !contents.exits.contains_key(&edge.from)
            {
                contents.exits.insert(edge.from, LaneExit { target: edge.to, items: items.collect() });
            } else {
                let target = (graph.name(edge.to).to_owned(), kind_word(graph.kind(edge.to)));
                card.left.extend(items.map(|item| CardItem { target: Some(target.clone()), ..item }));
            }
        }
        for card in &mut contents.cards {
            // Timeouts come first: the failed state named after the state is their target.
            card.right.sort_by_key(|item| !item.label.senders.contains(&TransitionTrigger::Time));
        }
        for node in 0..graph.nodes.len() {
            let items = arrivals(graph, lanes, node);
            match lanes.roles[node] {
                LaneRole::Lane => contents.entries.entry(node).or_default().extend(items),
                LaneRole::Top | LaneRole::Side(_) => _ = contents.cards[node].left.splice(0..0, items),
            }
        }
        contents
    }
}

fn card(graph: &DiagramGraph<'_>, node: usize) -> Card {
    let state = &graph.nodes[node];
    let name = state.name.to_string();
    let actions: Vec<&str> = state.state.invoke.iter().map(|invoke| invoke.action.as_str()).collect();
    let mut left = Vec::new();
    if !actions.is_empty() {
        let lines = wrapped(&format!("runs {}", actions.join(", ")), TextFont::Line, ACTIONS_WIDTH);
        left.extend(lines.into_iter().map(note));
    }
    left.extend(state.inner.iter().map(CardItem::new));
    Card {
        class: format!("state {}", kind_word(state.state.kind)),
        tip: state_tooltip(&name, state.state),
        state: Some(name.clone()),
        name,
        tags: state.shared.iter().map(|shared| graph.shared[*shared].tag.clone()).collect(),
        left,
        right: Vec::new(),
    }
}

/// Tooltip of a state: name, label, description, and the failures left to its deadline.
fn state_tooltip(name: &str, state: &State) -> String {
    let mut tip = name.to_owned();
    if let Some(label) = &state.label {
        tip = format!("{tip} ({label})");
    }
    if !state.about.is_empty() {
        tip = format!("{tip}: {}", state.about);
    }
    if !state.left_to_deadline.is_empty() {
        let failures: Vec<&str> = state.left_to_deadline.iter().map(EventName::as_str).collect();
        tip = format!("{tip}; left to the deadline: {}", failures.join(", "));
    }
    tip
}

/// Items for edges to `node` that are not drawn as lines.
fn arrivals(graph: &DiagramGraph<'_>, lanes: &Lanes, node: usize) -> Vec<CardItem> {
    let mut items = Vec::new();
    if node == graph.initial {
        items.push(note("a new instance begins here".to_owned()));
    }
    let is_top = lanes.roles[node] == LaneRole::Top;
    let requests = graph.shared.iter().flat_map(|shared| shared.edges.iter().map(move |edge| (shared, edge)));
    let mut requests = requests.filter(|(_, (_, targets))| targets.contains(&node)).peekable();
    let edges = graph.edges.iter().filter(|edge| edge.to == node);
    if requests.peek().is_none() && edges.clone().next().is_none() && node != graph.initial {
        items.push(note("entered by force only".to_owned()));
    }
    // Edges to resting states are shown at their source.
    if is_top {
        return items;
    }
    items.extend(requests.map(|(shared, (label, _))| arrival_item(label, &format!("from {}", shared.tag))));
    let mut sources: BTreeMap<&EdgeLabel, Vec<usize>> = BTreeMap::new();
    for edge in edges.filter(|edge| !lanes.is_drawn(edge)) {
        for label in &edge.labels {
            sources.entry(label).or_default().push(edge.from);
        }
    }
    items.extend(sources.into_iter().map(|(label, nodes)| arrival_item(label, &origin_text(graph, &nodes))));
    items
}

fn arrival_item(label: &EdgeLabel, origin: &str) -> CardItem {
    CardItem::new(&EdgeLabel { text: format!("{} {origin}", label.text), ..label.clone() })
}

/// `from Ready`, `from 8 failed states`.
fn origin_text(graph: &DiagramGraph<'_>, nodes: &[usize]) -> String {
    if nodes.len() <= MAX_NAMED_STATES {
        let names: Vec<&str> = nodes.iter().map(|node| graph.name(*node)).collect();
        return format!("from {}", names.join(" and "));
    }
    let kinds: BTreeSet<StateKind> = nodes.iter().map(|node| graph.kind(*node)).collect();
    let kind = kinds
        .first()
        .filter(|_| kinds.len() == 1)
        .map_or_else(String::new, |kind| kind_word(*kind).to_owned() + " ");
    format!("from {}", count(nodes.len(), &format!("{kind}state")))
}

/// An edge as text: `A → B: event, after 10m`.
pub(super) fn edge_text(graph: &DiagramGraph<'_>, edge: &DiagramEdge) -> String {
    let labels: Vec<&str> = edge.labels.iter().map(|label| label.text.as_str()).collect();
    format!("{} → {}: {}", graph.name(edge.from), graph.name(edge.to), labels.join(", "))
}

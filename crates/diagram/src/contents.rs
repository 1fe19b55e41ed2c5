//! What stands in the box of each state, above it, and below the last of a lane.

use std::collections::{BTreeMap, BTreeSet};

use super::cards::{Card, CardItem, add, note};
use super::graph::{DiagramEdge, DiagramGraph, EdgeLabel, TransitionTrigger};
use super::lanes::{LaneRole, Lanes};
use super::routes::{ChannelSide, LineRoutes};
use super::text::{TextFont, wrapped};
use super::wording::{counted, kind_word};
use machine::EventName;
use machine::{State, StateKind};

/// The width at which the list of a state's actions is broken into lines.
const ACTIONS_WIDTH: i32 = 230;
/// As many names as are given before they are counted.
const MAX_NAMED_STATES: usize = 2;

/// The way from the last state of a lane to a state of rest.
#[derive(Debug)]
pub(super) struct LaneExit {
    pub(super) target: usize,
    pub(super) items: Vec<CardItem>,
}

/// All texts.
#[derive(Debug)]
pub(super) struct DiagramTexts {
    /// The box of each state.
    pub(super) cards: Vec<Card>,
    /// What is said where a line comes down into a state of a lane.
    pub(super) entries: BTreeMap<usize, Vec<CardItem>>,
    /// What leads from the last state of a lane to rest.
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
        let mut ways: Vec<(usize, &DiagramEdge)> = graph.edges.iter().enumerate().collect();
        ways.sort_by_key(|(_, way)| way.kind);
        for (index, way) in ways {
            let items = way.labels.iter().map(CardItem::new);
            if below.get(&way.from) == Some(&way.to) {
                contents.entries.entry(way.to).or_default().extend(items);
                continue;
            }
            let card = &mut contents.cards[way.from];
            if let Some(route) = routes.by_way.get(&index) {
                let side = match route.exit.1 {
                    ChannelSide::Left => &mut card.left,
                    ChannelSide::Middle => &mut card.right,
                };
                items.for_each(|item| add(side, CardItem { ways: vec![index], ..item }));
            } else if lanes.roles[way.from] == LaneRole::Lane
                && !below.contains_key(&way.from)
                && !contents.exits.contains_key(&way.from)
            {
                contents.exits.insert(way.from, LaneExit { target: way.to, items: items.collect() });
            } else {
                let target = (graph.name(way.to).to_owned(), kind_word(graph.kind(way.to)));
                card.left.extend(items.map(|item| CardItem { target: Some(target.clone()), ..item }));
            }
        }
        for card in &mut contents.cards {
            // What time leads to stands first, since that is the failure that bears the state's name.
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

/// A state's name, what others call it, what it is about, and which failures of its actions it waits out.
fn state_tooltip(name: &str, state: &State) -> String {
    let mut tip = name.to_owned();
    if let Some(label) = &state.label {
        tip = format!("{tip}, called {label:?}");
    }
    if !state.about.is_empty() {
        tip = format!("{tip}: {}", state.about);
    }
    if !state.left_to_deadline.is_empty() {
        let waited: Vec<&str> = state.left_to_deadline.iter().map(EventName::as_str).collect();
        tip = format!("{tip}; left to the deadline: {}", waited.join(", "));
    }
    tip
}

/// What leads to `node` from where no line comes.
fn arrivals(graph: &DiagramGraph<'_>, lanes: &Lanes, node: usize) -> Vec<CardItem> {
    let mut items = Vec::new();
    if node == graph.initial {
        items.push(note("a new instance begins here".to_owned()));
    }
    let is_top = lanes.roles[node] == LaneRole::Top;
    let requests = graph.shared.iter().flat_map(|shared| shared.ways.iter().map(move |way| (shared, way)));
    let mut requests = requests.filter(|(_, (_, targets))| targets.contains(&node)).peekable();
    let ways = graph.edges.iter().filter(|way| way.to == node);
    if requests.peek().is_none() && ways.clone().next().is_none() && node != graph.initial {
        items.push(note("entered by force only".to_owned()));
    }
    // What leads to rest is said where it comes from.
    if is_top {
        return items;
    }
    items.extend(requests.map(|(shared, (label, _))| arrival_item(label, &format!("from {}", shared.tag))));
    let mut sources: BTreeMap<&EdgeLabel, Vec<usize>> = BTreeMap::new();
    for way in ways.filter(|way| !lanes.is_drawn(way)) {
        for label in &way.labels {
            sources.entry(label).or_default().push(way.from);
        }
    }
    items.extend(sources.into_iter().map(|(label, nodes)| arrival_item(label, &origin_text(graph, &nodes))));
    items
}

fn arrival_item(label: &EdgeLabel, place: &str) -> CardItem {
    CardItem::new(&EdgeLabel { text: format!("{} {place}", label.text), ..label.clone() })
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
    format!("from {}", counted(nodes.len(), &format!("{kind}state")))
}

/// A way in words: `A → B: event, after 10m`.
pub(super) fn edge_text(graph: &DiagramGraph<'_>, way: &DiagramEdge) -> String {
    let labels: Vec<&str> = way.labels.iter().map(|label| label.text.as_str()).collect();
    format!("{} → {}: {}", graph.name(way.from), graph.name(way.to), labels.join(", "))
}

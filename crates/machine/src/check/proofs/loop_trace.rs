//! Messages about endless loops: the shortest cycle, and why nothing ends it.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;

use super::super::super::definition::{StateKind, TimeoutDue};
use super::super::super::fault::SourcePosition;
use super::super::super::names::CounterName;
use super::graph::{StateEdge, StateEdgeCause, StateGraph};

/// The maximum number of edges examined to find the shortest cycle; then the shortest so far is reported.
const MAX_LOOP_SEARCH_STEPS: usize = 5_000_000;
/// The maximum number of states that a message lists.
const MAX_LISTED_STATES: usize = 20;

/// A cycle, as indexes of edges.
pub(super) struct EndlessLoop {
    edges: Vec<usize>,
    first: usize,
}

impl EndlessLoop {
    /// Returns the state where it starts.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// Returns the shortest cycle within `set` that is endless by itself, or else the shortest one. It starts with the
    /// state that comes first in the text, by `at`.
    pub(super) fn shortest(
        graph: &StateGraph<'_>,
        set: &[usize],
        at: &dyn Fn(usize) -> SourcePosition,
    ) -> Self {
        let mut best: Option<(bool, usize, SourcePosition, Vec<usize>)> = None;
        let mut steps = 0;
        for &edge in set {
            let Some(edges) = shortest_cycle_by(graph, set, edge) else { continue };
            let first = edges.iter().map(|&edge| at(graph.edges[edge].from)).min().unwrap_or_default();
            let found = (!is_endless(graph, &edges), edges.len(), first, edges);
            if best.as_ref().is_none_or(|best| found < *best) {
                best = Some(found);
            }
            steps += set.len();
            if steps > MAX_LOOP_SEARCH_STEPS {
                break;
            }
        }
        let mut edges = best.map(|(.., edges)| edges).unwrap_or_default();
        let start = (0..edges.len()).min_by_key(|&index| at(graph.edges[edges[index]].from));
        edges.rotate_left(start.unwrap_or_default());
        let first = edges.first().map(|&edge| graph.edges[edge].from).unwrap_or_default();
        Self { edges, first }
    }
}

/// Returns the shortest cycle within `set` that contains the edge `first`.
fn shortest_cycle_by(graph: &StateGraph<'_>, set: &[usize], first: usize) -> Option<Vec<usize>> {
    let (goal, start) = (graph.edges[first].from, graph.edges[first].to);
    let mut out: Vec<Vec<usize>> = vec![Vec::new(); graph.states.len()];
    for &edge in set {
        out[graph.edges[edge].from].push(edge);
    }
    let mut came_by: Vec<Option<usize>> = vec![None; graph.states.len()];
    let mut open = VecDeque::from([start]);
    while let Some(state) = open.pop_front() {
        if state == goal {
            break;
        }
        for &edge in &out[state] {
            let to = graph.edges[edge].to;
            if to != start && came_by[to].is_none() {
                came_by[to] = Some(edge);
                open.push_back(to);
            }
        }
    }
    let mut edges = Vec::new();
    let mut state = goal;
    while state != start {
        let edge = came_by[state]?;
        edges.push(edge);
        state = graph.edges[edge].from;
    }
    edges.push(first);
    edges.reverse();
    Some(edges)
}

/// Whether repeating `edges` alone never ends.
fn is_endless(graph: &StateGraph<'_>, edges: &[usize]) -> bool {
    let cleared = graph.cleared_in(edges);
    let mut all = edges.iter().map(|&edge| &graph.edges[edge]);
    let is_counted = |counter| edges.iter().any(|&edge| graph.edges[edge].counts.contains(counter));
    all.all(|edge| edge.bounded_by.iter().all(|counter| cleared.has(counter) || !is_counted(counter)))
}

/// Returns the message: which states can follow one another indefinitely, along which path, and why nothing ends it.
pub(super) fn message(graph: &StateGraph<'_>, set: &[usize], found: &EndlessLoop) -> String {
    let states: BTreeSet<usize> = set.iter().map(|&edge| graph.edges[edge].from).collect();
    let mut names: Vec<String> =
        states.iter().take(MAX_LISTED_STATES).map(|&state| format!("`{}`", graph.states[state].0)).collect();
    if states.len() > MAX_LISTED_STATES {
        names.push(format!("and {} more", states.len() - MAX_LISTED_STATES));
    }
    let mut text = match names.as_slice() {
        [one] => format!("{one} can be entered again and again without end: "),
        names => format!("these states can follow one another endlessly: {}; ", names.join(", ")),
    };
    text += graph.states[found.first].0.as_str();
    for &edge in &found.edges {
        let edge = &graph.edges[edge];
        _ = write!(text, " --({})--> {}", cause(edge), graph.states[edge.to].0);
    }
    text += ". ";
    text += &missing_bound(graph, set, found);
    text
}

fn cause(edge: &StateEdge<'_>) -> String {
    match edge.cause {
        StateEdgeCause::Event(event) => event.to_string(),
        StateEdgeCause::Passed(due, None) => time(due),
        StateEdgeCause::Passed(due, Some(max_count)) => format!("{}, limit {max_count}", time(due)),
        StateEdgeCause::Exceeded(due, max_count) => format!("{}, limit {max_count} exceeded", time(due)),
        StateEdgeCause::Always => "at once".to_owned(),
    }
}

fn time(due: TimeoutDue) -> String {
    match due {
        TimeoutDue::After(span) => format!("{} pass", formatting::duration(span)),
        TimeoutDue::At(at) => format!("it is {}", at.format("%Y-%m-%d %H:%M:%S UTC")),
    }
}

/// Returns why no counter ends it, and how to change that.
fn missing_bound(graph: &StateGraph<'_>, set: &[usize], found: &EndlessLoop) -> String {
    let cycle_edges = || found.edges.iter().map(|&edge| &graph.edges[edge]);
    let bounding: BTreeSet<&CounterName> = cycle_edges().flat_map(|edge| &edge.bounded_by).collect();
    let counted: BTreeSet<&CounterName> =
        cycle_edges().flat_map(|edge| edge.counts.iter().copied()).collect();
    let is_exceeded = |counter: &CounterName| {
        cycle_edges()
            .any(|edge| matches!(edge.cause, StateEdgeCause::Exceeded(..)) && edge.counts.contains(counter))
    };
    let mut reasons = Vec::new();
    for counter in bounding.intersection(&counted) {
        if let Some(location) = where_cleared(graph, set, found, counter) {
            reasons.push(format!("`{counter}` is counted and limited, but {location} clears it"));
        }
    }
    if !reasons.is_empty() {
        let remedy = "clear it only where an instance has come to rest or an operator asks for something";
        return format!("Nothing ends it: {}; {remedy}", reasons.join("; "));
    }
    for counter in bounding.difference(&counted) {
        reasons.push(format!(
            "`counters.{counter}` is asked but not counted on the way: `do: {{ count: {counter} }}`"
        ));
    }
    for edge in cycle_edges().filter(|edge| matches!(edge.cause, StateEdgeCause::Exceeded(..))) {
        let name = graph.states[edge.from].0;
        reasons.push(format!("`exceeded` of the timeout of `{name}` leads on within it: lead it out"));
    }
    for counter in counted.difference(&bounding).filter(|counter| !is_exceeded(counter)) {
        reasons.push(format!(
            "`{counter}` is counted but nothing on the way is bound by it: go on only `if: counters.{counter} < N`"
        ));
    }
    if reasons.is_empty() {
        let remedy = "give a `timeout` on the way a `limit`, or count in a transition and go on only `if: counters.NAME < N`";
        return format!("Nothing ends it: {remedy}");
    }
    format!("Nothing ends it: {}", reasons.join("; "))
}

/// Returns what clears `counter`: on the cycle first, then elsewhere in the set.
fn where_cleared(
    graph: &StateGraph<'_>,
    set: &[usize],
    found: &EndlessLoop,
    counter: &CounterName,
) -> Option<String> {
    let name = |state: usize| graph.states[state].0;
    for &index in found.edges.iter().chain(set) {
        let edge = &graph.edges[index];
        if graph.clears_on_entry(edge.to, counter) {
            return Some(format!("entering `{}`", name(edge.to)));
        }
        if edge.clears.has(counter) {
            return Some(format!("{} in `{}`", event(edge), name(edge.from)));
        }
    }
    let states: BTreeSet<usize> = set.iter().map(|&edge| graph.edges[edge].from).collect();
    let stays = graph
        .internal_transitions
        .iter()
        .filter(|stay| graph.states[stay.state].1.kind != StateKind::Resting);
    stays
        .filter(|stay| states.contains(&stay.state))
        .find(|stay| stay.clears.has(counter))
        .map(|stay| format!("`{}` in `{}`", stay.event, name(stay.state)))
}

/// Returns what triggers this edge.
pub(super) fn event(edge: &StateEdge<'_>) -> String {
    match edge.cause {
        StateEdgeCause::Event(event) => format!("`{event}`"),
        StateEdgeCause::Passed(..) | StateEdgeCause::Exceeded(..) => "the timeout".to_owned(),
        StateEdgeCause::Always => "`always`".to_owned(),
    }
}

//! Which states stand below one another: the long ways through the work, each a lane.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::graph::{DiagramEdge, DiagramGraph, EdgeKind, TransitionTrigger};
use machine::StateKind;

/// Where a state is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneRole {
    /// Above the lanes: it is at rest, and much may lead to it.
    Top,
    /// In a lane.
    Lane,
    /// Beside this state of a lane, which fails in it.
    Side(usize),
}

/// The lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    /// Where each state is drawn.
    pub(super) roles: Vec<LaneRole>,
    /// The states of each lane, from above.
    pub(super) all: Vec<Vec<usize>>,
    /// Which ways lead back up; by the way's index.
    pub(super) is_back: Vec<bool>,
}

impl Lanes {
    pub(super) fn new(graph: &DiagramGraph<'_>) -> Self {
        let mut roles = first_roles(graph);
        let heads = heads(graph, &roles);
        let (is_back, finished) = search(graph, &roles, &heads);
        let lanes = LaneExtraction { graph, roles: &roles, is_back: &is_back, heads: &heads }.run(&finished);
        place_beside(graph, &lanes, &mut roles);
        Self { roles, all: lanes, is_back }
    }

    /// Whether a line is drawn for `way`: what comes from states of rest or failure is said in words at both ends.
    pub(super) fn is_drawn(&self, way: &DiagramEdge) -> bool {
        self.roles[way.from] == LaneRole::Lane && self.roles[way.to] != LaneRole::Top
    }

    /// The state below `node` in its lane.
    pub(super) fn below(&self) -> BTreeMap<usize, usize> {
        self.all.iter().flat_map(|lane| lane.windows(2).map(|pair| (pair[0], pair[1]))).collect()
    }
}

/// Failed states are beside the lanes where there is one that fails in them; that is seen later.
fn first_roles(graph: &DiagramGraph<'_>) -> Vec<LaneRole> {
    let is_work = |way: &&DiagramEdge| graph.kind(way.from) == StateKind::Working;
    let role = |node| match graph.kind(node) {
        StateKind::Working => LaneRole::Lane,
        StateKind::Failed => LaneRole::Top,
        StateKind::Resting | StateKind::Final => {
            let sources = graph.edges.iter().filter(|way| way.to == node).filter(is_work).count();
            if sources == 1 && node != graph.initial { LaneRole::Lane } else { LaneRole::Top }
        }
    };
    (0..graph.nodes.len()).map(role).collect()
}

/// The states that begin a lane in any case: what an operator asks for, and the beginning of everything.
fn heads(graph: &DiagramGraph<'_>, roles: &[LaneRole]) -> BTreeSet<usize> {
    let requests = graph.shared.iter().flat_map(|shared| &shared.ways).flat_map(|(_, to)| to.iter().copied());
    let is_request = |way: &&DiagramEdge| {
        way.labels.iter().any(|label| label.senders.contains(&TransitionTrigger::Operator))
    };
    let others = graph.edges.iter().filter(is_request).filter(|way| roles[way.from] != LaneRole::Lane);
    let others = others.map(|way| way.to);
    let entered = requests.chain(others).chain([graph.initial]);
    entered.filter(|node| roles[*node] == LaneRole::Lane).collect()
}

/// In which order lanes are begun where nothing else decides: by what asks for them.
fn order(graph: &DiagramGraph<'_>, heads: &BTreeSet<usize>) -> Vec<usize> {
    let request = |node: &usize| {
        let ways = graph.shared.iter().flat_map(|shared| &shared.ways);
        ways.filter(|(_, to)| to.contains(node)).map(|(label, _)| label.text.as_str()).min()
    };
    let mut order: Vec<usize> = (0..graph.nodes.len()).collect();
    order.sort_by_key(|node| {
        let request = request(node);
        (!heads.contains(node), request.is_none(), request, *node)
    });
    order
}

/// Ways between the states of lanes.
fn edges_between_lane_states<'g>(
    graph: &'g DiagramGraph<'_>,
    roles: &[LaneRole],
) -> Vec<Vec<(usize, &'g DiagramEdge)>> {
    let mut from = vec![Vec::new(); graph.nodes.len()];
    for (index, way) in graph.edges.iter().enumerate() {
        if roles[way.from] == LaneRole::Lane && roles[way.to] == LaneRole::Lane {
            from[way.from].push((index, way));
        }
    }
    for ways in &mut from {
        ways.sort_by_key(|(_, way)| (way.kind, way.to));
    }
    from
}

/// Searches depth first, what happens before what times out; gives the ways that lead back to a state on the path, and
/// the states in the order in which the search was done with them.
fn search(graph: &DiagramGraph<'_>, roles: &[LaneRole], heads: &BTreeSet<usize>) -> (Vec<bool>, Vec<usize>) {
    let ways = edges_between_lane_states(graph, roles);
    let mut is_back = vec![false; graph.edges.len()];
    let mut finished = Vec::new();
    let mut seen = BTreeSet::new();
    let mut on_path = BTreeSet::new();
    for root in order(graph, heads) {
        if roles[root] != LaneRole::Lane || !seen.insert(root) {
            continue;
        }
        on_path.insert(root);
        let mut path = vec![(root, ways[root].iter())];
        while let Some((node, rest)) = path.last_mut() {
            match rest.next() {
                Some((index, way)) if on_path.contains(&way.to) => is_back[*index] = true,
                Some((_, way)) => {
                    if seen.insert(way.to) {
                        on_path.insert(way.to);
                        path.push((way.to, ways[way.to].iter()));
                    }
                }
                None => {
                    on_path.remove(node);
                    finished.push(*node);
                    path.pop();
                }
            }
        }
    }
    (is_back, finished)
}

/// Taking one lane after the other, the longest first.
struct LaneExtraction<'g, 'd> {
    graph: &'g DiagramGraph<'d>,
    roles: &'g [LaneRole],
    is_back: &'g [bool],
    heads: &'g BTreeSet<usize>,
}

impl LaneExtraction<'_, '_> {
    fn run(&self, finished: &[usize]) -> Vec<Vec<usize>> {
        let ways = edges_between_lane_states(self.graph, self.roles);
        let order = order(self.graph, self.heads);
        let mut left: BTreeSet<usize> = finished.iter().copied().collect();
        let mut lanes = Vec::new();
        while !left.is_empty() {
            let (lengths, next) = self.longest(finished, &ways, &left);
            // The first of the longest: `max_by_key` would give the last.
            let first =
                order.iter().filter(|node| left.contains(node)).min_by_key(|node| Reverse(lengths[**node]));
            let Some(&first) = first else { break };
            let mut lane = vec![first];
            left.remove(&first);
            while let Some(below) = lane.last().and_then(|last| next[*last]) {
                lane.push(below);
                left.remove(&below);
            }
            lanes.push(lane);
        }
        lanes
    }

    /// How long the longest lane from each state is, and which state is next in it.
    fn longest(
        &self,
        finished: &[usize],
        ways: &[Vec<(usize, &DiagramEdge)>],
        left: &BTreeSet<usize>,
    ) -> (Vec<usize>, Vec<Option<usize>>) {
        let mut lengths = vec![1; ways.len()];
        let mut next = vec![None; ways.len()];
        // Whatever a state leads to on was finished before it.
        for &node in finished.iter().filter(|node| left.contains(node)) {
            let ahead = ways[node].iter().filter(|(index, _)| !self.is_back[*index]);
            let has_progress = ahead.clone().any(|(_, way)| way.kind == EdgeKind::Progress);
            let ahead = ahead.filter(|(_, way)| {
                let is_course = way.kind == EdgeKind::Progress || !has_progress;
                is_course && left.contains(&way.to) && !self.heads.contains(&way.to)
            });
            // Of equally long ones the first.
            if let Some((_, way)) = ahead.min_by_key(|(_, way)| (Reverse(lengths[way.to]), way.kind, way.to))
            {
                lengths[node] = lengths[way.to] + 1;
                next[node] = Some(way.to);
            }
        }
        (lengths, next)
    }
}

/// Finds the state of a lane beside which each failed state belongs: the one that it is named after, or the first.
fn place_beside(graph: &DiagramGraph<'_>, lanes: &[Vec<usize>], roles: &mut [LaneRole]) {
    let positions: BTreeMap<usize, usize> =
        lanes.iter().flatten().enumerate().map(|(position, node)| (*node, position)).collect();
    for (node, role) in roles.iter_mut().enumerate() {
        if graph.kind(node) != StateKind::Failed || node == graph.initial {
            continue;
        }
        let name = graph.name(node).to_lowercase();
        let ways = graph.edges.iter().filter(|way| way.to == node && positions.contains_key(&way.from));
        let owner = ways.min_by_key(|way| {
            let is_namesake = name.ends_with(&graph.name(way.from).to_lowercase());
            (!is_namesake, positions.get(&way.from))
        });
        if let Some(way) = owner {
            *role = LaneRole::Side(way.from);
        }
    }
}

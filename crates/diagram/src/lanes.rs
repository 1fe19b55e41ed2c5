//! Lanes: the long paths through working states, drawn from top to bottom.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::graph::{DiagramEdge, DiagramGraph, EdgeKind, TransitionTrigger};
use machine::StateKind;

/// The position of a state in the diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneRole {
    /// Above the lanes: a resting state, which many edges may lead to.
    Top,
    /// In a lane.
    Lane,
    /// Beside this state of a lane: the failed state of it.
    Side(usize),
}

/// The lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    /// The role of each state.
    pub(super) roles: Vec<LaneRole>,
    /// The states of each lane, from top to bottom.
    pub(super) all: Vec<Vec<usize>>,
    /// Whether each edge leads back up, by index.
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

    /// Whether `edge` is drawn as a line. Edges out of resting and failed states are texts at both ends.
    pub(super) fn is_drawn(&self, edge: &DiagramEdge) -> bool {
        self.roles[edge.from] == LaneRole::Lane && self.roles[edge.to] != LaneRole::Top
    }

    /// The state below `node` in its lane.
    pub(super) fn below(&self) -> BTreeMap<usize, usize> {
        self.all.iter().flat_map(|lane| lane.windows(2).map(|pair| (pair[0], pair[1]))).collect()
    }
}

/// The roles before failed states are placed beside the lanes.
fn first_roles(graph: &DiagramGraph<'_>) -> Vec<LaneRole> {
    let is_work = |edge: &&DiagramEdge| graph.kind(edge.from) == StateKind::Working;
    let role = |node| match graph.kind(node) {
        StateKind::Working => LaneRole::Lane,
        StateKind::Failed => LaneRole::Top,
        StateKind::Resting | StateKind::Final => {
            let sources = graph.edges.iter().filter(|edge| edge.to == node).filter(is_work).count();
            if sources == 1 && node != graph.initial { LaneRole::Lane } else { LaneRole::Top }
        }
    };
    (0..graph.nodes.len()).map(role).collect()
}

/// The states that always begin a lane: targets of operators' requests, and the initial state.
fn heads(graph: &DiagramGraph<'_>, roles: &[LaneRole]) -> BTreeSet<usize> {
    let requests =
        graph.shared.iter().flat_map(|shared| &shared.edges).flat_map(|(_, to)| to.iter().copied());
    let is_request = |edge: &&DiagramEdge| {
        edge.labels.iter().any(|label| label.senders.contains(&TransitionTrigger::Operator))
    };
    let other_requests =
        graph.edges.iter().filter(is_request).filter(|edge| roles[edge.from] != LaneRole::Lane);
    let other_requests = other_requests.map(|edge| edge.to);
    let entered = requests.chain(other_requests).chain([graph.initial]);
    entered.filter(|node| roles[*node] == LaneRole::Lane).collect()
}

/// The order in which equal lanes begin: by the request that leads to them.
fn order(graph: &DiagramGraph<'_>, heads: &BTreeSet<usize>) -> Vec<usize> {
    let request = |node: &usize| {
        let edges = graph.shared.iter().flat_map(|shared| &shared.edges);
        edges.filter(|(_, to)| to.contains(node)).map(|(label, _)| label.text.as_str()).min()
    };
    let mut order: Vec<usize> = (0..graph.nodes.len()).collect();
    order.sort_by_key(|node| {
        let request = request(node);
        (!heads.contains(node), request.is_none(), request, *node)
    });
    order
}

/// Edges between states of lanes, by source.
fn edges_between_lane_states<'g>(
    graph: &'g DiagramGraph<'_>,
    roles: &[LaneRole],
) -> Vec<Vec<(usize, &'g DiagramEdge)>> {
    let mut from = vec![Vec::new(); graph.nodes.len()];
    for (index, edge) in graph.edges.iter().enumerate() {
        if roles[edge.from] == LaneRole::Lane && roles[edge.to] == LaneRole::Lane {
            from[edge.from].push((index, edge));
        }
    }
    for edges in &mut from {
        edges.sort_by_key(|(_, edge)| (edge.kind, edge.to));
    }
    from
}

/// Searches depth first, progress before timeouts. Returns for each edge whether it leads back to a state on the path, and
/// the states in the order in which the search finished them.
fn search(graph: &DiagramGraph<'_>, roles: &[LaneRole], heads: &BTreeSet<usize>) -> (Vec<bool>, Vec<usize>) {
    let edges = edges_between_lane_states(graph, roles);
    let mut is_back = vec![false; graph.edges.len()];
    let mut finished = Vec::new();
    let mut visited = BTreeSet::new();
    let mut on_path = BTreeSet::new();
    for root in order(graph, heads) {
        if roles[root] != LaneRole::Lane || !visited.insert(root) {
            continue;
        }
        on_path.insert(root);
        let mut path = vec![(root, edges[root].iter())];
        while let Some((node, rest)) = path.last_mut() {
            match rest.next() {
                Some((index, edge)) if on_path.contains(&edge.to) => is_back[*index] = true,
                Some((_, edge)) => {
                    if visited.insert(edge.to) {
                        on_path.insert(edge.to);
                        path.push((edge.to, edges[edge.to].iter()));
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

/// Extracts one lane after the other, the longest first.
struct LaneExtraction<'g, 'd> {
    graph: &'g DiagramGraph<'d>,
    roles: &'g [LaneRole],
    is_back: &'g [bool],
    heads: &'g BTreeSet<usize>,
}

impl LaneExtraction<'_, '_> {
    fn run(&self, finished: &[usize]) -> Vec<Vec<usize>> {
        let edges = edges_between_lane_states(self.graph, self.roles);
        let order = order(self.graph, self.heads);
        let mut left: BTreeSet<usize> = finished.iter().copied().collect();
        let mut lanes = Vec::new();
        while !left.is_empty() {
            let (lengths, next) = self.longest(finished, &edges, &left);
            // The first of the longest lanes; `max_by_key` would return the last.
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

    /// The length of the longest lane from each state, and the next state in it.
    fn longest(
        &self,
        finished: &[usize],
        edges: &[Vec<(usize, &DiagramEdge)>],
        left: &BTreeSet<usize>,
    ) -> (Vec<usize>, Vec<Option<usize>>) {
        let mut lengths = vec![1; edges.len()];
        let mut next = vec![None; edges.len()];
        // The targets of a state were finished before it.
        for &node in finished.iter().filter(|node| left.contains(node)) {
            let forward = edges[node].iter().filter(|(index, _)| !self.is_back[*index]);
            let has_progress = forward.clone().any(|(_, edge)| edge.kind == EdgeKind::Progress);
            let forward = forward.filter(|(_, edge)| {
                let is_main = edge.kind == EdgeKind::Progress || !has_progress;
                is_main && left.contains(&edge.to) && !self.heads.contains(&edge.to)
            });
            // Of equally long lanes the first.
            if let Some((_, edge)) =
                forward.min_by_key(|(_, edge)| (Reverse(lengths[edge.to]), edge.kind, edge.to))
            {
                lengths[node] = lengths[edge.to] + 1;
                next[node] = Some(edge.to);
            }
        }
        (lengths, next)
    }
}

/// Places each failed state beside a state of a lane: the one that it is named after, or the first that leads to it.
fn place_beside(graph: &DiagramGraph<'_>, lanes: &[Vec<usize>], roles: &mut [LaneRole]) {
    let positions: BTreeMap<usize, usize> =
        lanes.iter().flatten().enumerate().map(|(position, node)| (*node, position)).collect();
    for (node, role) in roles.iter_mut().enumerate() {
        if graph.kind(node) != StateKind::Failed || node == graph.initial {
            continue;
        }
        let name = graph.name(node).to_lowercase();
        let edges = graph.edges.iter().filter(|edge| edge.to == node && positions.contains_key(&edge.from));
        let owner = edges.min_by_key(|edge| {
            let is_namesake = name.ends_with(&graph.name(edge.from).to_lowercase());
            (!is_namesake, positions.get(&edge.from))
        });
        if let Some(edge) = owner {
            *role = LaneRole::Side(edge.from);
        }
    }
}

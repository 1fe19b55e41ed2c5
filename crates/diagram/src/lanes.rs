//! Which states stand below one another: the long ways through the work, each a lane.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Course, Graph, Trigger, Way};
use machine::Kind;

/// Where a state is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
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
    pub(super) roles: Vec<Role>,
    /// The states of each lane, from above.
    pub(super) all: Vec<Vec<usize>>,
    /// Which ways lead back up; by the way's index.
    pub(super) is_back: Vec<bool>,
}

impl Lanes {
    pub(super) fn new(graph: &Graph<'_>) -> Self {
        let mut roles = first_roles(graph);
        let heads = heads(graph, &roles);
        let (is_back, finished) = search(graph, &roles, &heads);
        let lanes = Extraction { graph, roles: &roles, is_back: &is_back, heads: &heads }.run(&finished);
        place_beside(graph, &lanes, &mut roles);
        Self { roles, all: lanes, is_back }
    }

    /// Whether a line is drawn for `way`: what comes from states of rest or failure is said in words at both ends.
    pub(super) fn is_drawn(&self, way: &Way) -> bool {
        self.roles[way.from] == Role::Lane && self.roles[way.to] != Role::Top
    }

    /// The state below `node` in its lane.
    pub(super) fn below(&self) -> BTreeMap<usize, usize> {
        self.all.iter().flat_map(|lane| lane.windows(2).map(|pair| (pair[0], pair[1]))).collect()
    }
}

/// Failed states are beside the lanes where there is one that fails in them; that is seen later.
fn first_roles(graph: &Graph<'_>) -> Vec<Role> {
    let is_work = |way: &&Way| graph.kind(way.from) == Kind::Working;
    let role = |node| match graph.kind(node) {
        Kind::Working => Role::Lane,
        Kind::Failed => Role::Top,
        Kind::Resting | Kind::Final => {
            let sources = graph.ways.iter().filter(|way| way.to == node).filter(is_work).count();
            if sources == 1 && node != graph.initial { Role::Lane } else { Role::Top }
        }
    };
    (0..graph.nodes.len()).map(role).collect()
}

/// The states that begin a lane in any case: what an operator asks for, and the beginning of everything.
fn heads(graph: &Graph<'_>, roles: &[Role]) -> BTreeSet<usize> {
    let requests = graph.shared.iter().flat_map(|shared| &shared.ways).flat_map(|(_, to)| to.iter().copied());
    let is_request = |way: &&Way| way.labels.iter().any(|label| label.senders.contains(&Trigger::Operator));
    let others = graph.ways.iter().filter(is_request).filter(|way| roles[way.from] != Role::Lane);
    let others = others.map(|way| way.to);
    let entered = requests.chain(others).chain([graph.initial]);
    entered.filter(|node| roles[*node] == Role::Lane).collect()
}

/// In which order lanes are begun where nothing else decides: by what asks for them.
fn order(graph: &Graph<'_>, heads: &BTreeSet<usize>) -> Vec<usize> {
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
fn ways<'g>(graph: &'g Graph<'_>, roles: &[Role]) -> Vec<Vec<(usize, &'g Way)>> {
    let mut from = vec![Vec::new(); graph.nodes.len()];
    for (index, way) in graph.ways.iter().enumerate() {
        if roles[way.from] == Role::Lane && roles[way.to] == Role::Lane {
            from[way.from].push((index, way));
        }
    }
    for ways in &mut from {
        ways.sort_by_key(|(_, way)| (way.course, way.to));
    }
    from
}

/// Searches depth first, what happens before what times out; gives the ways that lead back to a state on the path, and
/// the states in the order in which the search was done with them.
fn search(graph: &Graph<'_>, roles: &[Role], heads: &BTreeSet<usize>) -> (Vec<bool>, Vec<usize>) {
    let ways = ways(graph, roles);
    let mut is_back = vec![false; graph.ways.len()];
    let mut finished = Vec::new();
    let mut seen = BTreeSet::new();
    let mut on_path = BTreeSet::new();
    for root in order(graph, heads) {
        if roles[root] != Role::Lane || !seen.insert(root) {
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
struct Extraction<'g, 'd> {
    graph: &'g Graph<'d>,
    roles: &'g [Role],
    is_back: &'g [bool],
    heads: &'g BTreeSet<usize>,
}

impl Extraction<'_, '_> {
    fn run(&self, finished: &[usize]) -> Vec<Vec<usize>> {
        let ways = ways(self.graph, self.roles);
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
        ways: &[Vec<(usize, &Way)>],
        left: &BTreeSet<usize>,
    ) -> (Vec<usize>, Vec<Option<usize>>) {
        let mut lengths = vec![1; ways.len()];
        let mut next = vec![None; ways.len()];
        // Whatever a state leads to on was finished before it.
        for &node in finished.iter().filter(|node| left.contains(node)) {
            let ahead = ways[node].iter().filter(|(index, _)| !self.is_back[*index]);
            let has_progress = ahead.clone().any(|(_, way)| way.course == Course::Progress);
            let ahead = ahead.filter(|(_, way)| {
                let is_course = way.course == Course::Progress || !has_progress;
                is_course && left.contains(&way.to) && !self.heads.contains(&way.to)
            });
            // Of equally long ones the first.
            if let Some((_, way)) =
                ahead.min_by_key(|(_, way)| (Reverse(lengths[way.to]), way.course, way.to))
            {
                lengths[node] = lengths[way.to] + 1;
                next[node] = Some(way.to);
            }
        }
        (lengths, next)
    }
}

/// Finds the state of a lane beside which each failed state belongs: the one that it is named after, or the first.
fn place_beside(graph: &Graph<'_>, lanes: &[Vec<usize>], roles: &mut [Role]) {
    let positions: BTreeMap<usize, usize> =
        lanes.iter().flatten().enumerate().map(|(position, node)| (*node, position)).collect();
    for (node, role) in roles.iter_mut().enumerate() {
        if graph.kind(node) != Kind::Failed || node == graph.initial {
            continue;
        }
        let name = graph.name(node).to_lowercase();
        let ways = graph.ways.iter().filter(|way| way.to == node && positions.contains_key(&way.from));
        let owner = ways.min_by_key(|way| {
            let is_namesake = name.ends_with(&graph.name(way.from).to_lowercase());
            (!is_namesake, positions.get(&way.from))
        });
        if let Some(way) = owner {
            *role = Role::Side(way.from);
        }
    }
}

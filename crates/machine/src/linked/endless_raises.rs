//! Events that may raise one another for ever, with no time between.
//!
//! A way that needs a counter to be below some number, and counts it, ends, unless another way of the circle clears that
//! counter. What is left without such ways has no end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::raise_graph::{EventEdge, EventNode};
use crate::names::{CounterName, MachineName};
use crate::strongly_connected::cyclic_components;

/// A shortest circle of each set of events that may raise one another for ever.
pub(super) fn endless_raises<'d>(edges: &[EventEdge<'d>]) -> Vec<Vec<EventNode<'d>>> {
    let mut nodes: BTreeMap<&EventNode<'d>, usize> = BTreeMap::new();
    for edge in edges {
        for node in [&edge.from, &edge.to] {
            let next = nodes.len();
            nodes.entry(node).or_insert(next);
        }
    }
    let way = |edge: usize| (nodes[&edges[edge].from], nodes[&edges[edge].to]);
    let mut open: Vec<Vec<usize>> = vec![(0..edges.len()).collect()];
    let mut found = Vec::new();
    while let Some(set) = open.pop() {
        let ways: Vec<_> = set.iter().map(|edge| way(*edge)).collect();
        for circle in cyclic_components(nodes.len(), &ways) {
            let circle: Vec<usize> = circle.into_iter().map(|index| set[index]).collect();
            let left: Vec<usize> =
                circle.iter().copied().filter(|edge| !is_bounded(&edges[*edge], &circle, edges)).collect();
            if left.len() < circle.len() {
                open.push(left);
            } else {
                found.push(shortest_cycle(&circle, edges));
            }
        }
    }
    found.sort();
    found
}

/// Whether a way can be gone a number of times only, as long as nothing but `circle` happens.
fn is_bounded(edge: &EventEdge<'_>, circle: &[usize], edges: &[EventEdge<'_>]) -> bool {
    let is_cleared = |machine: &MachineName, counter: &CounterName| {
        let of_machine = circle.iter().map(|other| &edges[*other]).filter(|other| other.from.0 == machine);
        of_machine.into_iter().any(|other| other.clears.has(counter))
    };
    let counted = edge.bounded_by.iter().filter(|counter| edge.counts.contains(counter));
    counted.into_iter().any(|counter| !is_cleared(edge.from.0, counter))
}

/// The events of a shortest circle, each once, beginning with the first by name.
fn shortest_cycle<'d>(circle: &[usize], edges: &[EventEdge<'d>]) -> Vec<EventNode<'d>> {
    let starts: BTreeSet<&EventNode<'d>> = circle.iter().map(|edge| &edges[*edge].from).collect();
    let rounds = starts.into_iter().filter_map(|start| shortest_cycle_through(start, circle, edges));
    rounds.min_by_key(Vec::len).unwrap_or_default()
}

fn shortest_cycle_through<'d>(
    start: &EventNode<'d>,
    circle: &[usize],
    edges: &[EventEdge<'d>],
) -> Option<Vec<EventNode<'d>>> {
    let mut came_from: BTreeMap<&EventNode<'d>, &EventNode<'d>> = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(node) = open.pop_front() {
        for edge in circle.iter().map(|edge| &edges[*edge]).filter(|edge| edge.from == *node) {
            if edge.to == *start {
                let mut path = vec![node.clone()];
                let mut at = node;
                while at != start {
                    at = came_from.get(at)?;
                    path.push(at.clone());
                }
                path.reverse();
                return Some(path);
            }
            if !came_from.contains_key(&edge.to) {
                came_from.insert(&edge.to, node);
                open.push_back(&edge.to);
            }
        }
    }
    None
}

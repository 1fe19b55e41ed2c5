//! Events that may raise one another endlessly in one transaction.
//!
//! An edge that requires a counter below some number, and counts it, can be taken a limited number of times, unless
//! another edge of the cycle clears that counter. A cycle that remains without such edges is endless.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::raise_graph::{EventEdge, EventNode};
use crate::names::{CounterName, MachineName};
use crate::strongly_connected::cyclic_components;

/// Returns a shortest cycle of each set of events that may raise one another endlessly.
pub(super) fn endless_raises<'d>(edges: &[EventEdge<'d>]) -> Vec<Vec<EventNode<'d>>> {
    let mut nodes: BTreeMap<&EventNode<'d>, usize> = BTreeMap::new();
    for edge in edges {
        for node in [&edge.from, &edge.to] {
            let next = nodes.len();
            nodes.entry(node).or_insert(next);
        }
    }
    let nodes_of = |edge: usize| (nodes[&edges[edge].from], nodes[&edges[edge].to]);
    let mut open: Vec<Vec<usize>> = vec![(0..edges.len()).collect()];
    let mut found = Vec::new();
    while let Some(set) = open.pop() {
        let pairs: Vec<_> = set.iter().map(|edge| nodes_of(*edge)).collect();
        for component in cyclic_components(nodes.len(), &pairs) {
            let cycle: Vec<usize> = component.into_iter().map(|index| set[index]).collect();
            let unbounded: Vec<usize> =
                cycle.iter().copied().filter(|edge| !is_bounded(&edges[*edge], &cycle, edges)).collect();
            if unbounded.len() < cycle.len() {
                open.push(unbounded);
            } else {
                found.push(shortest_cycle(&cycle, edges));
            }
        }
    }
    found.sort();
    found
}

/// Whether an edge can be taken a limited number of times only, as long as nothing but `cycle` happens.
fn is_bounded(edge: &EventEdge<'_>, cycle: &[usize], edges: &[EventEdge<'_>]) -> bool {
    let is_cleared = |machine: &MachineName, counter: &CounterName| {
        let same_machine = cycle.iter().map(|other| &edges[*other]).filter(|other| other.from.0 == machine);
        same_machine.into_iter().any(|other| other.clears.has(counter))
    };
    let counted = edge.bounded_by.iter().filter(|counter| edge.counts.contains(counter));
    counted.into_iter().any(|counter| !is_cleared(edge.from.0, counter))
}

/// Returns the events of a shortest cycle, each once, starting with the first by name.
fn shortest_cycle<'d>(cycle: &[usize], edges: &[EventEdge<'d>]) -> Vec<EventNode<'d>> {
    let starts: BTreeSet<&EventNode<'d>> = cycle.iter().map(|edge| &edges[*edge].from).collect();
    let cycles = starts.into_iter().filter_map(|start| shortest_cycle_through(start, cycle, edges));
    cycles.min_by_key(Vec::len).unwrap_or_default()
}

fn shortest_cycle_through<'d>(
    start: &EventNode<'d>,
    cycle: &[usize],
    edges: &[EventEdge<'d>],
) -> Option<Vec<EventNode<'d>>> {
    let mut came_from: BTreeMap<&EventNode<'d>, &EventNode<'d>> = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(node) = open.pop_front() {
        for edge in cycle.iter().map(|edge| &edges[*edge]).filter(|edge| edge.from == *node) {
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

//! Endless loops: sets of working states that can follow one another indefinitely without an operator.
//!
//! An edge that requires a counter below some number can be taken a limited number of times, if that counter is counted
//! and never cleared. So in every strongly connected set, the check looks for a counter that no edge of the set clears.
//! If each edge that it bounds counts it too, those edges are limited, and the rest of the set is examined again.
//! Otherwise either the bounded edges or the counting edges are taken indefinitely, but not both; the rest is
//! examined in each case. A set with edges and without such a counter is endless.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::fault::FaultCollector;
use super::super::super::names::CounterName;
use super::super::super::rule::Rule;
use super::super::positions::DefinitionPositions;
use super::graph::StateGraph;
use super::loop_trace::{self, EndlessLoop};
use crate::strongly_connected::{IndexEdge, cyclic_components};

/// The maximum number of states and edges examined in all, beyond the needs of any definition that people write.
const MAX_PROOF_STEPS: usize = 20_000_000;

/// Reports the endless loops, and returns all states that are in one.
pub(super) fn check(
    graph: &StateGraph<'_>,
    positions: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) -> BTreeSet<usize> {
    let mut reported: BTreeSet<usize> = BTreeSet::new();
    for set in endless_sets(graph) {
        let states: BTreeSet<usize> = set.iter().map(|&edge| graph.edges[edge].from).collect();
        // If several loops share a state, one is reported at a time.
        if states.is_disjoint(&reported) {
            let at = |state: usize| positions.state(graph.states[state].0);
            let found = EndlessLoop::shortest(graph, &set, &at);
            faults.add(at(found.first()), Rule::EndlessLoop, loop_trace::message(graph, &set, &found));
        }
        reported.extend(states);
    }
    reported
}

/// Returns the sets of edges that can be taken indefinitely; each edge by its index.
fn endless_sets(graph: &StateGraph<'_>) -> Vec<Vec<usize>> {
    let by_themselves = (0..graph.edges.len()).filter(|&edge| graph.goes_on_by_itself(&graph.edges[edge]));
    let mut open: Vec<Vec<usize>> = vec![by_themselves.collect()];
    let mut endless = Vec::new();
    let mut steps = 0;
    while let Some(edges) = open.pop() {
        steps += graph.states.len() + edges.len();
        let pairs: Vec<IndexEdge> =
            edges.iter().map(|&edge| (graph.edges[edge].from, graph.edges[edge].to)).collect();
        // The sets have no state in common, so what is left of them is examined together.
        let (mut rest, mut other) = (Vec::new(), Vec::new());
        for component in cyclic_components(graph.states.len(), &pairs) {
            let set: Vec<usize> = component.into_iter().map(|index| edges[index]).collect();
            match LoopBound::find(graph, &set) {
                // A set that cannot be examined within the limit counts as endless.
                _ if steps > MAX_PROOF_STEPS => endless.push(set),
                None => endless.push(set),
                Some(LoopBound::Edges(ends)) => {
                    rest.extend(set.into_iter().filter(|edge| !ends.contains(edge)));
                }
                Some(LoopBound::Either(bounded, counting)) => {
                    rest.extend(set.iter().copied().filter(|edge| !bounded.contains(edge)));
                    other.extend(set.into_iter().filter(|edge| !counting.contains(edge)));
                }
            }
        }
        open.extend([rest, other].into_iter().filter(|edges| !edges.is_empty()));
    }
    endless
}

/// The edges of a set that cannot be taken indefinitely.
enum LoopBound {
    /// These edges.
    Edges(BTreeSet<usize>),
    /// Either the first or the second ones.
    Either(BTreeSet<usize>, BTreeSet<usize>),
}

impl LoopBound {
    fn find(graph: &StateGraph<'_>, set: &[usize]) -> Option<Self> {
        let cleared = graph.cleared_in(set);
        let mut bounded: BTreeMap<&CounterName, BTreeSet<usize>> = BTreeMap::new();
        let mut counting: BTreeMap<&CounterName, BTreeSet<usize>> = BTreeMap::new();
        for &index in set {
            let edge = &graph.edges[index];
            for counter in edge.bounded_by.iter().filter(|counter| !cleared.has(counter)) {
                bounded.entry(counter).or_default().insert(index);
            }
            for counter in &edge.counts {
                counting.entry(counter).or_default().insert(index);
            }
        }
        let both = |(counter, bounded): (&&CounterName, &BTreeSet<usize>)| {
            let counting = counting.get(counter)?;
            Some(bounded.intersection(counting).copied().collect::<Vec<_>>())
        };
        let ends: BTreeSet<usize> = bounded.iter().filter_map(both).flatten().collect();
        if !ends.is_empty() {
            return Some(Self::Edges(ends));
        }
        bounded
            .into_iter()
            .find_map(|(counter, bounded)| Some(Self::Either(bounded, counting.remove(counter)?)))
    }
}

//! Endless loops: sets of working states that can follow one another for ever without a person.
//!
//! A way that needs a counter to be below some number ends where that counter is counted and never begins anew. So in
//! every set of states that lead to one another, a counter is looked for that no way within the set clears. If each way
//! that it bounds counts it too, those ways are taken a number of times only, and what is left without them is looked at
//! again. Otherwise either the ways that it bounds or the ways that count it are taken for ever, and not both; both
//! are looked at. A set with ways and no such counter has no end.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::fault::FaultCollector;
use super::super::super::names::CounterName;
use super::super::super::rule::Rule;
use super::super::positions::DefinitionPositions;
use super::graph::StateGraph;
use super::loop_trace::{self, EndlessLoop};
use crate::strongly_connected::{IndexEdge, cyclic_components};

/// How many states and ways are looked at in all: so many that no definition that people write needs them.
const MAX_PROOF_STEPS: usize = 20_000_000;

/// Notes the endless loops, and gives all states that are in one.
pub(super) fn check(
    graph: &StateGraph<'_>,
    places: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) -> BTreeSet<usize> {
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for set in endless_sets(graph) {
        let states: BTreeSet<usize> = set.iter().map(|&edge| graph.edges[edge].from).collect();
        // One loop of several that share a state is enough at a time.
        if states.is_disjoint(&told) {
            let at = |state: usize| places.state(graph.states[state].0);
            let found = EndlessLoop::shortest(graph, &set, &at);
            faults.add(at(found.first()), Rule::EndlessLoop, loop_trace::message(graph, &set, &found));
        }
        told.extend(states);
    }
    told
}

/// The sets of edges that can be gone for ever; each edge by its index.
fn endless_sets(graph: &StateGraph<'_>) -> Vec<Vec<usize>> {
    let by_themselves = (0..graph.edges.len()).filter(|&edge| graph.goes_on_by_itself(&graph.edges[edge]));
    let mut open: Vec<Vec<usize>> = vec![by_themselves.collect()];
    let mut endless = Vec::new();
    let mut steps = 0;
    while let Some(edges) = open.pop() {
        steps += graph.states.len() + edges.len();
        let ways: Vec<IndexEdge> =
            edges.iter().map(|&edge| (graph.edges[edge].from, graph.edges[edge].to)).collect();
        // The sets have no state in common, so that what is left of them is looked at together.
        let (mut left, mut other) = (Vec::new(), Vec::new());
        for circle in cyclic_components(graph.states.len(), &ways) {
            let set: Vec<usize> = circle.into_iter().map(|index| edges[index]).collect();
            match LoopBound::find(graph, &set) {
                // What cannot be proved in time is not proved.
                _ if steps > MAX_PROOF_STEPS => endless.push(set),
                None => endless.push(set),
                Some(LoopBound::Edges(ends)) => {
                    left.extend(set.into_iter().filter(|edge| !ends.contains(edge)))
                }
                Some(LoopBound::Either(bounded, counting)) => {
                    left.extend(set.iter().copied().filter(|edge| !bounded.contains(edge)));
                    other.extend(set.into_iter().filter(|edge| !counting.contains(edge)));
                }
            }
        }
        open.extend([left, other].into_iter().filter(|edges| !edges.is_empty()));
    }
    endless
}

/// What is not gone for ever in a set of edges.
enum LoopBound {
    /// These edges.
    Edges(BTreeSet<usize>),
    /// Either of these.
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

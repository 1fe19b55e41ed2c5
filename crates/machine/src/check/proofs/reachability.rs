//! Every state is reachable, and every state that is neither resting nor final can be left.

use std::collections::BTreeSet;

use super::super::super::definition::{State, StateKind};
use super::super::super::fault::FaultCollector;
use super::super::super::rule::Rule;
use super::super::positions::DefinitionPositions;
use super::graph::StateGraph;
use crate::strongly_connected::IndexEdge;

/// Checks the edges to and from each state; the states in `endless` have been reported.
pub(super) fn check(
    graph: &StateGraph<'_>,
    endless: &BTreeSet<usize>,
    positions: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) {
    let reached = reached(graph);
    let (mut can_leave, mut operator_can) = (BTreeSet::new(), BTreeSet::new());
    let recovering = recovering(graph);
    for edge in graph.edges.iter().filter(|edge| edge.from != edge.to) {
        can_leave.insert(edge.from);
        if edge.is_operators && recovering.contains(&edge.to) {
            operator_can.insert(edge.from);
        }
    }
    for (number, (name, state)) in graph.states.iter().enumerate() {
        if !reached.contains(&number) {
            let message = format!(
                "nothing leads to `{name}` from `{}`; if only a forced move leads there, declare `resting: true`",
                graph.states[graph.initial].0
            );
            faults.add(positions.state(name), Rule::Unreachable, message);
        }
        match state.kind {
            StateKind::Resting => {}
            StateKind::Final => check_final(graph, number, positions, faults),
            // No instance stays in a state that is left at once; its target is checked by itself.
            StateKind::Failed if operator_can.contains(&number) || graph.left_at_once.contains(&number) => {}
            StateKind::Failed => {
                let message = format!(
                    "no request of an operator leads out of `{name}` to a state that has not failed: handle one in `on`, or in \
                     a group that it is in"
                );
                faults.add(positions.state(name), Rule::FailedForEver, message);
            }
            StateKind::Working if !can_leave.contains(&number) => {
                if !endless.contains(&number) {
                    let message = format!(
                        "nothing leads out of `{name}`: give it a `timeout` or an event; or declare `resting: true` if an \
                         instance may stay, or `final: true` if its life ends there"
                    );
                    faults.add(positions.state(name), Rule::NoWayOut, message);
                }
            }
            StateKind::Working => check_deadline(graph, number, positions, faults),
        }
    }
}

fn check_deadline(
    graph: &StateGraph<'_>,
    number: usize,
    positions: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) {
    let (name, state) = graph.states[number];
    if state.timeout.is_some() || graph.left_at_once.contains(&number) {
        return;
    }
    let message = format!(
        "`{name}` may wait forever for an event that never comes: give it `timeout: {{ after: …, target: … }}`; or declare \
         `resting: true` if no work is in progress in it"
    );
    faults.add(positions.state(name), Rule::NoDeadline, message);
}

fn check_final(
    graph: &StateGraph<'_>,
    number: usize,
    positions: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) {
    let (name, state) = graph.states[number];
    let found = [
        ("invoke", !state.invoke.is_empty()),
        ("timeout", state.timeout.is_some()),
        ("always", !state.always.is_empty()),
        ("on", !state.on.is_empty()),
    ];
    for (key, _) in found.into_iter().filter(|(_, is_there)| *is_there) {
        let message = format!("`{name}` is final, so neither it nor its groups may have `{key}`");
        faults.add(positions.within_state(name, key), Rule::FinalGoesOn, message);
    }
}

/// Returns the reachable states: from the initial one, and from those to which an operator may move instances.
fn reached(graph: &StateGraph<'_>) -> BTreeSet<usize> {
    let may_be_put = |state: &State| state.kind == StateKind::Resting || state.is_declared_resting;
    let resting = graph.states.iter().enumerate().filter(|(_, (_, state))| may_be_put(state));
    let first = resting.map(|(number, _)| number).chain([graph.initial]).collect();
    follow(graph.states.len(), first, graph.edges.iter().map(|edge| (edge.from, edge.to)))
}

/// Returns the states from which one that has not failed can be reached, including those.
fn recovering(graph: &StateGraph<'_>) -> BTreeSet<usize> {
    let is_not_failed = |number: &usize| graph.states[*number].1.kind != StateKind::Failed;
    let not_failed = (0..graph.states.len()).filter(is_not_failed).collect();
    follow(graph.states.len(), not_failed, graph.edges.iter().map(|edge| (edge.to, edge.from)))
}

/// Returns the nodes reachable from `open`, including those.
fn follow(states: usize, mut open: Vec<usize>, edges: impl Iterator<Item = IndexEdge>) -> BTreeSet<usize> {
    let mut out: Vec<Vec<usize>> = vec![Vec::new(); states];
    for (from, to) in edges {
        out[from].push(to);
    }
    let mut reached = BTreeSet::new();
    while let Some(state) = open.pop() {
        if reached.insert(state) {
            open.extend(&out[state]);
        }
    }
    reached
}

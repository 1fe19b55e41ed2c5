//! Ways in and out: every state is reached, and every state that is not for ever is left.

use std::collections::BTreeSet;

use super::super::super::definition::{State, StateKind};
use super::super::super::fault::FaultCollector;
use super::super::super::rule::Rule;
use super::super::positions::DefinitionPositions;
use super::graph::StateGraph;
use crate::strongly_connected::IndexEdge;

/// Checks each state's ways in and out; those in `endless` have been told of.
pub(super) fn check(
    graph: &StateGraph<'_>,
    endless: &BTreeSet<usize>,
    places: &DefinitionPositions<'_>,
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
                "nothing leads to `{name}` from `{}`; if only an operator's force leads there, say `resting: true`",
                graph.states[graph.initial].0
            );
            faults.add(places.state(name), Rule::Unreachable, message);
        }
        match state.kind {
            StateKind::Resting => {}
            StateKind::Final => check_final(graph, number, places, faults),
            // Nobody finds an instance in one that is left at once; where that leads is told of by itself.
            StateKind::Failed if operator_can.contains(&number) || graph.left_at_once.contains(&number) => {}
            StateKind::Failed => {
                let message = format!(
                    "no request of an operator leads out of `{name}` to a state that has not failed: take one in `on`, or in \
                     a group that it is in"
                );
                faults.add(places.state(name), Rule::FailedForEver, message);
            }
            StateKind::Working if !can_leave.contains(&number) => {
                if !endless.contains(&number) {
                    let message = format!(
                        "nothing leads out of `{name}`: give it a `timeout` or an event; or say `resting: true` if an \
                         instance may stay, or `final: true` if its life ends there"
                    );
                    faults.add(places.state(name), Rule::NoWayOut, message);
                }
            }
            StateKind::Working => check_deadline(graph, number, places, faults),
        }
    }
}

fn check_deadline(
    graph: &StateGraph<'_>,
    number: usize,
    places: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) {
    let (name, state) = graph.states[number];
    if state.timeout.is_some() || graph.left_at_once.contains(&number) {
        return;
    }
    let message = format!(
        "`{name}` may wait for ever for what never comes: give it `timeout: {{ after: …, target: … }}`; or say \
         `resting: true` if nothing is under way in it"
    );
    faults.add(places.state(name), Rule::NoDeadline, message);
}

fn check_final(
    graph: &StateGraph<'_>,
    number: usize,
    places: &DefinitionPositions<'_>,
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
        let message =
            format!("`{name}` is final, so `{key}` has no place in it, nor in a group that it is in");
        faults.add(places.within_state(name, key), Rule::FinalGoesOn, message);
    }
}

/// The states that instances come to: from the initial one, and from those where an operator may put them.
fn reached(graph: &StateGraph<'_>) -> BTreeSet<usize> {
    let may_be_put = |state: &State| state.kind == StateKind::Resting || state.is_declared_resting;
    let resting = graph.states.iter().enumerate().filter(|(_, (_, state))| may_be_put(state));
    let first = resting.map(|(number, _)| number).chain([graph.initial]).collect();
    follow(graph.states.len(), first, graph.edges.iter().map(|edge| (edge.from, edge.to)))
}

/// The states from which one that has not failed is reached, and those themselves.
fn recovering(graph: &StateGraph<'_>) -> BTreeSet<usize> {
    let is_well = |number: &usize| graph.states[*number].1.kind != StateKind::Failed;
    let well = (0..graph.states.len()).filter(is_well).collect();
    follow(graph.states.len(), well, graph.edges.iter().map(|edge| (edge.to, edge.from)))
}

/// What the ways lead to from `open`, and those themselves.
fn follow(states: usize, mut open: Vec<usize>, ways: impl Iterator<Item = IndexEdge>) -> BTreeSet<usize> {
    let mut out: Vec<Vec<usize>> = vec![Vec::new(); states];
    for (from, to) in ways {
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

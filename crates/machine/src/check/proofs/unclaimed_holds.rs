//! Resources that states hold must be claimed: by an action of the state, or on every edge that leads to it.

use std::collections::BTreeSet;

use super::super::super::sender::Sender;
use super::super::positions::DefinitionPositions;
use super::graph::{StateEdge, StateEdgeCause, StateGraph};
use super::loop_trace;
use crate::definition::{State, TimeoutDue};
use crate::fault::FaultCollector;
use crate::names::ResourceName;
use crate::rule::Rule;

/// A resource that a state holds, by the state's number.
type StateHold<'d> = (usize, &'d ResourceName);

/// Reports states that hold a resource that nothing claims.
pub(super) fn check(
    graph: &StateGraph<'_>,
    positions: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) {
    let waiting = ungranted_holds(graph);
    for (number, (name, state)) in graph.states.iter().enumerate() {
        if state.hold.is_empty() || !state.invoke.is_empty() {
            continue;
        }
        let mut edges = graph.edges.iter().filter(|edge| edge.to == number);
        let reason = edges.find_map(|edge| unclaimed_entry(graph, edge, state, &waiting));
        let from = match reason {
            Some(from) => from,
            None if number == graph.initial => "when the instance is created".to_owned(),
            None => continue,
        };
        let message =
            format!("`{name}` invokes no action with which its resources are claimed, and is entered {from}");
        faults.add(positions.within_state(name, "hold"), Rule::UnclaimedHold, message);
    }
}

/// Returns why an instance that takes this edge to `state` may lack a resource that the state holds.
fn unclaimed_entry(
    graph: &StateGraph<'_>,
    edge: &StateEdge<'_>,
    state: &State,
    waiting: &BTreeSet<StateHold<'_>>,
) -> Option<String> {
    let (name, before) = graph.states[edge.from];
    if state.hold.keys().any(|resource| !before.hold.contains_key(resource)) {
        return Some(format!("from `{name}`, which does not hold as much"));
    }
    if is_granted_before(graph, edge) {
        return None;
    }
    let resource = state.hold.keys().find(|resource| waiting.contains(&(edge.from, resource)))?;
    Some(format!(
        "from `{name}` by {}, where `{name}` may still wait for `{resource}`",
        loop_trace::event(edge)
    ))
}

/// Returns the resources of states with actions that an instance there may not have been granted yet.
fn ungranted_holds<'d>(graph: &StateGraph<'d>) -> BTreeSet<StateHold<'d>> {
    let claimed = |number: usize| {
        let (_, state) = graph.states[number];
        state.hold.keys().filter(|_| !state.invoke.is_empty()).map(move |resource| (number, resource))
    };
    let lacks = |edge: &StateEdge<'_>, resource| !graph.states[edge.from].1.hold.contains_key(resource);
    let entered = graph
        .edges
        .iter()
        .flat_map(|edge| claimed(edge.to).filter(move |(_, resource)| lacks(edge, *resource)));
    let mut open: Vec<StateHold<'d>> = claimed(graph.initial).chain(entered).collect();
    let mut waiting = BTreeSet::new();
    while let Some((from, resource)) = open.pop() {
        if !waiting.insert((from, resource)) {
            continue;
        }
        let edges = graph.edges_from(from).iter().filter(|edge| !is_granted_before(graph, edge));
        open.extend(edges.flat_map(|edge| claimed(edge.to)).filter(|(_, other)| *other == resource));
    }
    waiting
}

/// Whether this edge is taken only after the first action of its source state has started, and so after the state's
/// resources are granted: a finished action has started, and a time limit runs from then on.
fn is_granted_before(graph: &StateGraph<'_>, edge: &StateEdge<'_>) -> bool {
    match edge.cause {
        StateEdgeCause::Event(event) => {
            let event = graph.definition.events.get(event);
            event.is_some_and(|event| event.from.iter().eq([&Sender::Action]))
        }
        StateEdgeCause::Passed(due, _) | StateEdgeCause::Exceeded(due, _) => {
            matches!(due, TimeoutDue::After(_))
        }
        StateEdgeCause::Always => false,
    }
}

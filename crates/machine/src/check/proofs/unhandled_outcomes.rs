//! Outcomes of actions: each success is awaited, and each failure is handled or left to the deadline.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::definition::{Definition, State, StateKind};
use super::super::super::fault::{FaultCollector, SourcePosition};
use super::super::super::names::{ActionName, EventName};
use super::super::super::rule::Rule;
use super::super::super::sender::Sender;
use super::super::action_outcomes::{ended_action, invokes};
use super::super::positions::DefinitionPositions;

/// Checks how states handle the outcomes of their actions.
pub(super) fn check(
    definition: &Definition,
    positions: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) {
    let taken: BTreeSet<&str> = definition
        .states
        .values()
        .flat_map(|state| state.on.keys().filter(|event| can_occur(definition, state, event)))
        .map(EventName::as_str)
        .collect();
    let mut awaited: BTreeMap<&ActionName, SourcePosition> = BTreeMap::new();
    for (name, state) in &definition.states {
        for event in state.on.keys().filter(|event| !can_occur(definition, state, event)) {
            // A transition of a group may be meant for another member.
            if let (Some(at), Some(action)) = (positions.event_in_state(name, event), ended_action(event)) {
                let message = format!("`{name}` does not invoke `{action}`, so `{event}` never comes in it");
                faults.add(at, Rule::UnknownEvent, message);
            }
        }
        let mut seen = BTreeSet::new();
        for (index, invoke) in state.invoke.iter().enumerate() {
            let at = positions.invoked(name, index);
            let (ok, failed) = (format!("{}-ok", invoke.action), format!("{}-failed", invoke.action));
            let is_last = index + 1 == state.invoke.len();
            if is_last && awaits_success(state) && !taken.contains(ok.as_str()) && !handles(state, &ok) {
                let first = awaited.entry(&invoke.action).or_insert(at);
                *first = at.min(*first);
            }
            if seen.insert(&invoke.action) && !handles(state, &failed) {
                let message = format!(
                    "`{name}` does not handle the failure of `{}`: handle `{failed}` in `on`, or leave it to the \
                     `timeout` with `left_to_deadline: [{failed}]`",
                    invoke.action
                );
                faults.add(at, Rule::UnhandledFailed, message);
            }
        }
    }
    for (action, at) in awaited {
        let message = format!("no state takes `{action}-ok`, so it has no effect that `{action}` succeeds");
        faults.add(at, Rule::UnhandledOk, message);
    }
}

/// Whether `event` can occur in `state`: outcomes occur only where the action is invoked.
pub(super) fn can_occur(definition: &Definition, state: &State, event: &EventName) -> bool {
    let is_end = definition.events.get(event).is_some_and(|event| event.from.contains(&Sender::Action));
    !is_end || invokes(&state.invoke, event)
}

/// Whether the success of the state's last action should have an effect.
///
/// A resting state awaits nothing. An action that a time limit keeps running is a periodic check, whose success needs
/// no effect.
fn awaits_success(state: &State) -> bool {
    let is_periodic = state.timeout.as_ref().is_some_and(|timeout| timeout.keeps_actions);
    state.kind == StateKind::Working && !is_periodic
}

/// Whether the state handles this outcome.
fn handles(state: &State, event: &str) -> bool {
    state.on.contains_key(event) || state.left_to_deadline.contains(event)
}

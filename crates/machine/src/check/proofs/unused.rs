//! What is merely odd, and does no harm.

use std::collections::BTreeSet;

use super::super::super::definition::{Definition, Transition, TransitionEffect};
use super::super::super::fault::FaultCollector;
use super::super::super::guard::Guard;
use super::super::super::names::{CounterName, EventName};
use super::super::super::operation::{CounterEffect, Operation};
use super::super::super::rule::Rule;
use super::super::super::sender::Sender;
use super::super::positions::DefinitionPositions;

/// How many idle counters are told of.
const MAX_IDLE_COUNTERS: usize = 20;

/// Notes what is odd.
pub(super) fn check(definition: &Definition, places: &DefinitionPositions<'_>, faults: &mut FaultCollector) {
    let taken: BTreeSet<&EventName> = definition.states.values().flat_map(|state| state.on.keys()).collect();
    for (name, event) in &definition.events {
        if !event.from.contains(&Sender::Action) && !taken.contains(name) {
            // The refusal of what is raised is not declared, and may be left alone.
            let Some(at) = places.event(name) else { continue };
            let message = format!("no state takes `{name}`: whoever sends it is told that nothing follows");
            faults.add(at, Rule::UnusedEvent, message);
        }
    }
    for name in definition.resources.keys() {
        if !definition.states.values().any(|state| state.hold.contains_key(name)) {
            let message = format!("no state holds `{name}`, so nothing is limited by it");
            faults.add(places.resource(name), Rule::UnusedResource, message);
        }
    }
    for (name, state) in &definition.states {
        if state.about.is_empty() {
            let message = format!(
                "`{name}` has no `about`: say in a line what it waits for or what a person should do"
            );
            faults.add(places.state(name), Rule::NoAbout, message);
        }
    }
    idle_counters(definition, places, faults);
}

/// Notes counters that are counted and never looked at, or cleared and never counted.
fn idle_counters(definition: &Definition, places: &DefinitionPositions<'_>, faults: &mut FaultCollector) {
    let limits = definition.states.values().filter_map(|state| state.timeout.as_ref()?.limit.as_ref());
    let limited: BTreeSet<&CounterName> = limits.map(|limit| &limit.counter).collect();
    let counted: BTreeSet<&CounterName> = operations(definition)
        .filter_map(|operation| match operation.counter_effect() {
            CounterEffect::Counts(counter) => Some(counter),
            CounterEffect::Nothing | CounterEffect::Clears(_) | CounterEffect::ClearsAll => None,
        })
        .collect();
    // A word may stand for something else than a counter; then an idle one goes unnoticed, which does no harm.
    let asked: BTreeSet<&str> = transitions(definition)
        .filter_map(|transition| transition.guard.as_ref())
        .flat_map(Guard::words)
        .collect();
    let mut told = 0;
    for counter in definition.counters.iter().filter(|counter| !limited.contains(counter)) {
        let (operation, message) = if !counted.contains(counter) {
            ("clear", format!("`{counter}` is cleared, but nothing counts it"))
        } else if !asked.contains(counter.as_str()) {
            ("count", format!("`{counter}` is counted, but no condition and no limit looks at it"))
        } else {
            continue;
        };
        // Each is looked for in the whole text.
        told += 1;
        if told > MAX_IDLE_COUNTERS {
            break;
        }
        if let Some(at) = places.operation(operation, counter) {
            faults.add(at, Rule::IdleCounter, message);
        }
    }
}

fn transitions(definition: &Definition) -> impl Iterator<Item = &Transition> {
    let states = definition.states.values();
    states.flat_map(|state| state.always.iter().chain(state.on.values().flatten()))
}

fn operations(definition: &Definition) -> impl Iterator<Item = &Operation> {
    let entries = definition.states.values().flat_map(|state| &state.entry);
    let moves = transitions(definition).flat_map(|transition| match &transition.effect {
        TransitionEffect::Move { operations, .. } | TransitionEffect::Stay { operations } => {
            operations.as_slice()
        }
        TransitionEffect::Refuse { .. } => &[],
    });
    entries.chain(moves)
}

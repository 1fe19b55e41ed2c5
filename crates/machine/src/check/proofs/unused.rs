//! Warnings: questionable parts that do no harm.

use std::collections::BTreeSet;

use super::super::super::definition::{Definition, Transition, TransitionEffect};
use super::super::super::fault::FaultCollector;
use super::super::super::guard::Guard;
use super::super::super::names::{CounterName, EventName};
use super::super::super::operation::{CounterEffect, Operation};
use super::super::super::rule::Rule;
use super::super::super::sender::Sender;
use super::super::positions::DefinitionPositions;

/// The maximum number of idle counters reported.
const MAX_IDLE_COUNTERS: usize = 20;

/// Reports the warnings.
pub(super) fn check(
    definition: &Definition,
    positions: &DefinitionPositions<'_>,
    faults: &mut FaultCollector,
) {
    let taken: BTreeSet<&EventName> = definition.states.values().flat_map(|state| state.on.keys()).collect();
    for (name, event) in &definition.events {
        if !event.from.contains(&Sender::Action) && !taken.contains(name) {
            // The refusal of a raised event is not declared, and may be ignored.
            let Some(at) = positions.event(name) else { continue };
            let message = format!("no state takes `{name}`: its senders get the answer that it is ignored");
            faults.add(at, Rule::UnusedEvent, message);
        }
    }
    for name in definition.resources.keys() {
        if !definition.states.values().any(|state| state.hold.contains_key(name)) {
            let message = format!("no state holds `{name}`, so nothing is limited by it");
            faults.add(positions.resource(name), Rule::UnusedResource, message);
        }
    }
    for (name, state) in &definition.states {
        if state.about.is_empty() {
            let message = format!(
                "`{name}` has no `about`: describe in a line what it waits for or what an operator should do"
            );
            faults.add(positions.state(name), Rule::NoAbout, message);
        }
    }
    idle_counters(definition, positions, faults);
}

/// Reports counters that are counted but never read, or cleared but never counted.
fn idle_counters(definition: &Definition, positions: &DefinitionPositions<'_>, faults: &mut FaultCollector) {
    let limits = definition.states.values().filter_map(|state| state.timeout.as_ref()?.limit.as_ref());
    let limited: BTreeSet<&CounterName> = limits.map(|limit| &limit.counter).collect();
    let counted: BTreeSet<&CounterName> = operations(definition)
        .filter_map(|operation| match operation.counter_effect() {
            CounterEffect::Counts(counter) => Some(counter),
            CounterEffect::Nothing | CounterEffect::Clears(_) | CounterEffect::ClearsAll => None,
        })
        .collect();
    // A word may mean something else than a counter; then an idle counter goes unnoticed, which is harmless.
    let asked: BTreeSet<&str> = transitions(definition)
        .filter_map(|transition| transition.guard.as_ref())
        .flat_map(Guard::words)
        .collect();
    let mut reported = 0;
    for counter in definition.counters.iter().filter(|counter| !limited.contains(counter)) {
        let (operation, message) = if !counted.contains(counter) {
            ("clear", format!("`{counter}` is cleared, but nothing counts it"))
        } else if !asked.contains(counter.as_str()) {
            ("count", format!("`{counter}` is counted, but no condition and no limit looks at it"))
        } else {
            continue;
        };
        // Each search covers the whole text.
        reported += 1;
        if reported > MAX_IDLE_COUNTERS {
            break;
        }
        if let Some(at) = positions.operation(operation, counter) {
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

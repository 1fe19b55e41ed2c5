//! The graph of events that may raise one another, regardless of the instances' states.

use std::collections::BTreeSet;

use crate::definition::{Definition, State, Transition, TransitionEffect};
use crate::guard::Guard;
use crate::names::{CounterName, EventName, MachineName, StateName};
use crate::operation::{ClearedCounters, CounterEffect, DeclaredRaise, Operation, refusal};

/// An event of a machine.
pub(super) type EventNode<'d> = (&'d MachineName, EventName);

/// The decision on `from` may lead to a decision on `to` in the same transaction.
#[derive(Debug)]
pub(super) struct EventEdge<'d> {
    pub(super) from: EventNode<'d>,
    pub(super) to: EventNode<'d>,
    /// The counters of the sending machine that are incremented.
    pub(super) counts: BTreeSet<&'d CounterName>,
    /// The counters that must be below some number.
    pub(super) bounded_by: BTreeSet<CounterName>,
    /// The counters that may be cleared.
    pub(super) clears: ClearedCounters<'d>,
}

/// The possible effects of operations.
#[derive(Debug, Clone, Default)]
struct OperationEffects<'d> {
    raises: Vec<DeclaredRaise<'d>>,
    counts: BTreeSet<&'d CounterName>,
    clears: ClearedCounters<'d>,
}

impl<'d> OperationEffects<'d> {
    fn add(&mut self, operations: &'d [Operation]) {
        for operation in operations {
            self.raises.extend(operation.declared_raise());
            let effect = operation.counter_effect();
            if let CounterEffect::Counts(counter) = effect {
                self.counts.insert(counter);
            }
            self.clears.add(effect);
        }
    }

    /// Adds effects that are possible but not certain.
    fn add_possible(&mut self, other: Self) {
        self.raises.extend(other.raises);
        self.clears.extend(&other.clears);
    }
}

/// Returns the edges from the events of `definition`.
pub(super) fn edges(definition: &Definition) -> Vec<EventEdge<'_>> {
    let mut edges = Vec::new();
    for state in definition.states.values() {
        let after_entry = effects_after_entry(definition, state);
        for (event, transitions) in &state.on {
            for transition in transitions {
                add_transition(definition, event, transition, &after_entry, &mut edges);
            }
        }
    }
    edges
}

fn add_transition<'d>(
    definition: &'d Definition,
    event: &EventName,
    transition: &'d Transition,
    after_entry: &OperationEffects<'d>,
    edges: &mut Vec<EventEdge<'d>>,
) {
    let mut effects = OperationEffects::default();
    match &transition.effect {
        TransitionEffect::Refuse { .. } => return,
        // The changes may make an `always` transition leave the state.
        TransitionEffect::Stay { operations } => {
            effects.add(operations);
            effects.add_possible(after_entry.clone());
        }
        TransitionEffect::Move { operations, target } => {
            effects.add(operations);
            if let Some(state) = definition.states.get(target) {
                effects.add(&state.entry);
                effects.add_possible(effects_after_entry(definition, state));
            }
        }
    }
    let ranges = transition.guard.as_ref().map(Guard::ranges).unwrap_or_default();
    let bounded_by: BTreeSet<CounterName> = ranges.bounded_counters().cloned().collect();
    let event_node = (&definition.machine, event.clone());
    for raise in effects.raises {
        let raised = (raise.machine, raise.event.clone());
        edges.push(EventEdge {
            from: event_node.clone(),
            to: raised.clone(),
            counts: effects.counts.clone(),
            bounded_by: bounded_by.clone(),
            clears: effects.clears.clone(),
        });
        if let Some(refused) = refusal(raise.event) {
            let (counts, bounded_by, clears) = (BTreeSet::new(), BTreeSet::new(), ClearedCounters::default());
            let to = (&definition.machine, refused);
            edges.push(EventEdge { from: raised, to, counts, bounded_by, clears });
        }
    }
}

/// Returns the possible effects of `always` transitions after `state` is entered.
fn effects_after_entry<'d>(definition: &'d Definition, state: &'d State) -> OperationEffects<'d> {
    let mut effects = OperationEffects::default();
    let mut seen: BTreeSet<&StateName> = BTreeSet::new();
    let mut open = vec![state];
    while let Some(state) = open.pop() {
        for transition in &state.always {
            let TransitionEffect::Move { operations, target } = &transition.effect else { continue };
            effects.add(operations);
            if let Some((name, next)) = definition.states.get_key_value(target)
                && seen.insert(name)
            {
                effects.add(&next.entry);
                open.push(next);
            }
        }
    }
    effects
}

//! What each event of each machine may raise, whatever the states of the instances.

use std::collections::BTreeSet;

use crate::definition::{Definition, State, Transition, TransitionEffect};
use crate::guard::Guard;
use crate::names::{CounterName, EventName, MachineName, StateName};
use crate::operation::{ClearedCounters, CounterEffect, DeclaredRaise, Operation, refusal};

/// An event of a machine.
pub(super) type EventNode<'d> = (&'d MachineName, EventName);

/// That an event, where it is decided, may let another be decided on in the same transaction.
#[derive(Debug)]
pub(super) struct EventEdge<'d> {
    pub(super) from: EventNode<'d>,
    pub(super) to: EventNode<'d>,
    /// The counters, of the machine that it comes from, that grow on the way.
    pub(super) counts: BTreeSet<&'d CounterName>,
    /// Those that have to be below some number.
    pub(super) bounded_by: BTreeSet<CounterName>,
    /// Those that may begin anew.
    pub(super) clears: ClearedCounters<'d>,
}

/// What may happen on a way.
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

    /// Adds what may happen besides, which is not certain.
    fn add_possible(&mut self, other: Self) {
        self.raises.extend(other.raises);
        self.clears.extend(&other.clears);
    }
}

/// What the events of `definition` may let be decided on.
pub(super) fn edges(definition: &Definition) -> Vec<EventEdge<'_>> {
    let mut edges = Vec::new();
    for state in definition.states.values() {
        let leaving = effects_after_entry(definition, state);
        for (event, transitions) in &state.on {
            for transition in transitions {
                add_transition(definition, event, transition, &leaving, &mut edges);
            }
        }
    }
    edges
}

fn add_transition<'d>(
    definition: &'d Definition,
    event: &EventName,
    transition: &'d Transition,
    leaving: &OperationEffects<'d>,
    edges: &mut Vec<EventEdge<'d>>,
) {
    let mut happens = OperationEffects::default();
    match &transition.effect {
        TransitionEffect::Refuse { .. } => return,
        // It may be led out of the state by what it changes.
        TransitionEffect::Stay { operations } => {
            happens.add(operations);
            happens.add_possible(leaving.clone());
        }
        TransitionEffect::Move { operations, target } => {
            happens.add(operations);
            if let Some(state) = definition.states.get(target) {
                happens.add(&state.entry);
                happens.add_possible(effects_after_entry(definition, state));
            }
        }
    }
    let ranges = transition.guard.as_ref().map(Guard::ranges).unwrap_or_default();
    let bounded_by: BTreeSet<CounterName> = ranges.bounded_counters().cloned().collect();
    let here = (&definition.machine, event.clone());
    for raise in happens.raises {
        let there = (raise.machine, raise.event.clone());
        edges.push(EventEdge {
            from: here.clone(),
            to: there.clone(),
            counts: happens.counts.clone(),
            bounded_by: bounded_by.clone(),
            clears: happens.clears.clone(),
        });
        if let Some(refused) = refusal(raise.event) {
            let (counts, bounded_by, clears) = (BTreeSet::new(), BTreeSet::new(), ClearedCounters::default());
            let to = (&definition.machine, refused);
            edges.push(EventEdge { from: there, to, counts, bounded_by, clears });
        }
    }
}

/// What may happen once `state` is entered, by what leads out of it at once.
fn effects_after_entry<'d>(definition: &'d Definition, state: &'d State) -> OperationEffects<'d> {
    let mut happens = OperationEffects::default();
    let mut seen: BTreeSet<&StateName> = BTreeSet::new();
    let mut open = vec![state];
    while let Some(state) = open.pop() {
        for transition in &state.always {
            let TransitionEffect::Move { operations, target } = &transition.effect else { continue };
            happens.add(operations);
            if let Some((name, next)) = definition.states.get_key_value(target)
                && seen.insert(name)
            {
                happens.add(&next.entry);
                open.push(next);
            }
        }
    }
    happens
}

//! What each event of each machine may raise, whatever the states of the instances.

use std::collections::BTreeSet;

use crate::definition::{Definition, State, Transition, TransitionEffect};
use crate::guard::Guard;
use crate::names::{CounterName, EventName, MachineName, StateName};
use crate::operation::{OnCounters, Operation, Raises, refusal};

/// An event of a machine.
pub(super) type Node<'d> = (&'d MachineName, EventName);

/// That an event, where it is decided, may let another be decided on in the same transaction.
#[derive(Debug)]
pub(super) struct Edge<'d> {
    pub(super) from: Node<'d>,
    pub(super) to: Node<'d>,
    /// The counters, of the machine that it comes from, that grow on the way.
    pub(super) counts: BTreeSet<&'d CounterName>,
    /// Those that have to be below some number.
    pub(super) bounded_by: BTreeSet<CounterName>,
    /// Those that may begin anew.
    pub(super) clears: Clears<'d>,
}

/// The counters that may begin anew.
#[derive(Debug, Clone, Default)]
pub(super) struct Clears<'d> {
    pub(super) all: bool,
    pub(super) some: BTreeSet<&'d CounterName>,
}

/// What may happen on a way.
#[derive(Debug, Clone, Default)]
struct Happens<'d> {
    raises: Vec<Raises<'d>>,
    counts: BTreeSet<&'d CounterName>,
    clears: Clears<'d>,
}

impl<'d> Happens<'d> {
    fn add(&mut self, operations: &'d [Operation]) {
        for operation in operations {
            self.raises.extend(operation.raises());
            match operation.on_counters() {
                OnCounters::Nothing => {}
                OnCounters::Counts(counter) => _ = self.counts.insert(counter),
                OnCounters::Clears(counter) => _ = self.clears.some.insert(counter),
                OnCounters::ClearsAll => self.clears.all = true,
            }
        }
    }

    /// Adds what may happen besides, which is not certain.
    fn add_possible(&mut self, other: Self) {
        self.raises.extend(other.raises);
        self.clears.all |= other.clears.all;
        self.clears.some.extend(other.clears.some);
    }
}

/// What the events of `definition` may let be decided on.
pub(super) fn edges(definition: &Definition) -> Vec<Edge<'_>> {
    let mut edges = Vec::new();
    for state in definition.states.values() {
        let leaving = after(definition, state);
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
    leaving: &Happens<'d>,
    edges: &mut Vec<Edge<'d>>,
) {
    let mut happens = Happens::default();
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
                happens.add_possible(after(definition, state));
            }
        }
    }
    let ranges = transition.guard.as_ref().map(Guard::ranges).unwrap_or_default();
    let bounded_by: BTreeSet<CounterName> = ranges.bounded().cloned().collect();
    let here = (&definition.machine, event.clone());
    for raise in happens.raises {
        let there = (raise.machine, raise.event.clone());
        edges.push(Edge {
            from: here.clone(),
            to: there.clone(),
            counts: happens.counts.clone(),
            bounded_by: bounded_by.clone(),
            clears: happens.clears.clone(),
        });
        if let Some(refused) = refusal(raise.event) {
            let (counts, bounded_by, clears) = (BTreeSet::new(), BTreeSet::new(), Clears::default());
            let to = (&definition.machine, refused);
            edges.push(Edge { from: there, to, counts, bounded_by, clears });
        }
    }
}

/// What may happen once `state` is entered, by what leads out of it at once.
fn after<'d>(definition: &'d Definition, state: &'d State) -> Happens<'d> {
    let mut happens = Happens::default();
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

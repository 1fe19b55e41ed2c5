//! The graph of a definition's states: edges between states, and their effect on counters.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::definition::{
    Definition, State, StateKind, TimeoutDue, Transition, TransitionEffect,
};
use super::super::super::guard::{CounterRanges, Guard};
use super::super::super::names::{CounterName, EventName, StateName};
use super::super::super::operation::{ClearedCounters, CounterEffect, Operation};
use super::super::super::sender::Sender;
use super::unhandled_outcomes;

/// The states by number, and the edges between them.
pub(super) struct StateGraph<'d> {
    pub(super) definition: &'d Definition,
    pub(super) states: Vec<(&'d StateName, &'d State)>,
    pub(super) edges: Vec<StateEdge<'d>>,
    /// The transitions that stay in a state and clear counters, without an operator.
    pub(super) internal_transitions: Vec<InternalTransition<'d>>,
    pub(super) initial: usize,
    /// The states that are always left at once by an `always` transition.
    pub(super) left_at_once: BTreeSet<usize>,
}

/// An edge from a state to another one, or back to itself.
pub(super) struct StateEdge<'d> {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) cause: StateEdgeCause<'d>,
    /// Only an operator triggers it.
    pub(super) is_operators: bool,
    /// The counters that are incremented.
    pub(super) counts: BTreeSet<&'d CounterName>,
    /// The counters that are cleared.
    pub(super) clears: ClearedCounters<'d>,
    /// The counters that must be below some number.
    pub(super) bounded_by: BTreeSet<CounterName>,
}

/// What triggers an edge.
#[derive(Debug, Clone, Copy)]
pub(super) enum StateEdgeCause<'d> {
    Event(&'d EventName),
    /// The time limit expires: the limit, and how often it may expire.
    Passed(TimeoutDue, Option<u32>),
    /// The time limit expires more often than allowed.
    Exceeded(TimeoutDue, u32),
    Always,
}

/// A transition that stays in its state.
pub(super) struct InternalTransition<'d> {
    pub(super) state: usize,
    pub(super) event: &'d EventName,
    pub(super) clears: ClearedCounters<'d>,
}

impl<'d> StateGraph<'d> {
    pub(super) fn new(definition: &'d Definition) -> Self {
        let states: Vec<_> = definition.states.iter().collect();
        let numbers: BTreeMap<&StateName, usize> =
            states.iter().enumerate().map(|(number, (name, _))| (*name, number)).collect();
        let initial = numbers.get(&definition.initial).copied().unwrap_or_default();
        let mut graph = Self {
            definition,
            states,
            edges: Vec::new(),
            internal_transitions: Vec::new(),
            initial,
            left_at_once: BTreeSet::new(),
        };
        for number in 0..graph.states.len() {
            graph.add_state(number, &numbers);
        }
        graph
    }

    fn add_state(&mut self, from: usize, numbers: &BTreeMap<&StateName, usize>) {
        let (_, state) = self.states[from];
        // An instance that is still in the state was not moved by `always`.
        let any = CounterRanges::default();
        let stayed =
            self.add_transitions(from, StateEdgeCause::Always, &state.always, (&any, any.clone()), numbers);
        if stayed.is_impossible() {
            self.left_at_once.insert(from);
            return;
        }
        self.add_timeout(from, state, &stayed, numbers);
        // Counters may have changed since entry, without a state change.
        let now = if changes_counters(state) { any } else { stayed.clone() };
        for (event, transitions) in &state.on {
            if unhandled_outcomes::can_occur(self.definition, state, event) {
                self.add_transitions(
                    from,
                    StateEdgeCause::Event(event),
                    transitions,
                    (&stayed, now.clone()),
                    numbers,
                );
            }
        }
    }

    /// Adds the edges of transitions, for counters that were within `entered` on entry and are within `ranges` now.
    /// Returns the ranges in which no transition is taken.
    fn add_transitions(
        &mut self,
        from: usize,
        cause: StateEdgeCause<'d>,
        transitions: &'d [Transition],
        (entered, mut ranges): (&CounterRanges, CounterRanges),
        numbers: &BTreeMap<&StateName, usize>,
    ) -> CounterRanges {
        let is_operators = match cause {
            StateEdgeCause::Event(event) => self
                .definition
                .events
                .get(event)
                .is_some_and(|event| event.from.iter().all(|sender| *sender == Sender::Operator)),
            StateEdgeCause::Passed(..) | StateEdgeCause::Exceeded(..) | StateEdgeCause::Always => false,
        };
        for Transition { guard, effect } in transitions {
            let here = ranges.clone().intersect(&guard.as_ref().map(Guard::ranges).unwrap_or_default());
            match (effect, cause) {
                // A transition whose condition never holds has no edge.
                _ if here.is_impossible() => {}
                (TransitionEffect::Move { operations, target }, _) => {
                    let Some(&to) = numbers.get(target) else { continue };
                    let mut edge = StateEdge {
                        from,
                        to,
                        cause,
                        is_operators,
                        counts: BTreeSet::new(),
                        clears: ClearedCounters::default(),
                        bounded_by: here
                            .bounded_counters()
                            .chain(entered.bounded_counters())
                            .cloned()
                            .collect(),
                    };
                    edge.add_operations(operations);
                    self.add(edge);
                }
                (TransitionEffect::Stay { operations }, StateEdgeCause::Event(event)) => {
                    let clears = operations_clear(operations);
                    if !is_operators && !clears.is_empty() {
                        self.internal_transitions.push(InternalTransition { state: from, event, clears });
                    }
                }
                (TransitionEffect::Stay { .. } | TransitionEffect::Refuse { .. }, _) => {}
            }
            // A transition without a condition is always taken.
            ranges = ranges
                .intersect(&guard.as_ref().map_or_else(CounterRanges::impossible, Guard::ranges_otherwise));
        }
        ranges
    }

    fn add_timeout(
        &mut self,
        from: usize,
        state: &'d State,
        stayed: &CounterRanges,
        numbers: &BTreeMap<&StateName, usize>,
    ) {
        let Some(timeout) = &state.timeout else { return };
        let limit = timeout.limit.as_ref();
        let edge = |to, cause| StateEdge {
            from,
            to,
            cause,
            is_operators: false,
            counts: limit.iter().map(|limit| &limit.counter).collect(),
            clears: ClearedCounters::default(),
            bounded_by: stayed.bounded_counters().cloned().collect(),
        };
        if let Some(&to) = numbers.get(&timeout.target) {
            let mut passed =
                edge(to, StateEdgeCause::Passed(timeout.due, limit.map(|limit| limit.max_count)));
            passed.bounded_by.extend(limit.map(|limit| limit.counter.clone()));
            self.add(passed);
        }
        if let Some((limit, &to)) = limit.and_then(|limit| Some((limit, numbers.get(&limit.exceeded)?))) {
            self.add(edge(to, StateEdgeCause::Exceeded(timeout.due, limit.max_count)));
        }
    }

    /// Adds an edge, with the operations on entry of its target.
    fn add(&mut self, mut edge: StateEdge<'d>) {
        let (_, target) = self.states[edge.to];
        edge.add_operations(&target.entry);
        self.edges.push(edge);
    }

    /// Returns the edges that leave `state`.
    pub(super) fn edges_from(&self, state: usize) -> &[StateEdge<'d>] {
        // The edges are sorted by source state.
        let first = self.edges.partition_point(|edge| edge.from < state);
        let end = self.edges.partition_point(|edge| edge.from <= state);
        &self.edges[first..end]
    }

    /// Whether entering `state` clears `counter`.
    pub(super) fn clears_on_entry(&self, state: usize, counter: &CounterName) -> bool {
        operations_clear(&self.states[state].1.entry).has(counter)
    }

    /// Returns the counters that are cleared by these edges, or by transitions within their states.
    pub(super) fn cleared_in(&self, set: &[usize]) -> ClearedCounters<'d> {
        let mut cleared = ClearedCounters::default();
        let mut states = BTreeSet::new();
        for &index in set {
            cleared.extend(&self.edges[index].clears);
            states.insert(self.edges[index].from);
        }
        for stay in &self.internal_transitions {
            // An instance only passes through resting states on the loop.
            if states.contains(&stay.state) && self.states[stay.state].1.kind != StateKind::Resting {
                cleared.extend(&stay.clears);
            }
        }
        cleared
    }

    /// Whether an instance takes this edge without an operator and without having rested.
    pub(super) fn goes_on_by_itself(&self, edge: &StateEdge<'_>) -> bool {
        match self.states[edge.from].1.kind {
            // A failed state differs from a working one only by its name.
            StateKind::Working | StateKind::Failed => !edge.is_operators,
            // An instance that leaves by an event has rested before. A time limit that leads back to the state is a
            // periodic check; one that leads to another state waits for nobody.
            StateKind::Resting => match edge.cause {
                StateEdgeCause::Always => true,
                StateEdgeCause::Passed(..) | StateEdgeCause::Exceeded(..) => edge.from != edge.to,
                StateEdgeCause::Event(_) => false,
            },
            StateKind::Final => false,
        }
    }
}

impl<'d> StateEdge<'d> {
    fn add_operations(&mut self, operations: &'d [Operation]) {
        for operation in operations {
            if let CounterEffect::Counts(counter) = operation.counter_effect() {
                self.counts.insert(counter);
            }
        }
        self.clears.extend(&operations_clear(operations));
    }
}

/// Whether a transition that stays in the state changes counters.
fn changes_counters(state: &State) -> bool {
    state.on.values().flatten().any(|transition| match &transition.effect {
        TransitionEffect::Stay { operations } => {
            operations.iter().any(|operation| operation.counter_effect() != CounterEffect::Nothing)
        }
        TransitionEffect::Move { .. } | TransitionEffect::Refuse { .. } => false,
    })
}

fn operations_clear(operations: &[Operation]) -> ClearedCounters<'_> {
    let mut clears = ClearedCounters::default();
    for operation in operations {
        clears.add(operation.counter_effect());
    }
    clears
}

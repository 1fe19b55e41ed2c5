//! The graph of a definition's states: what leads from which to which, and what that does to counters.

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
    /// What happens in each state without leaving it and clears counters, by itself.
    pub(super) internal_transitions: Vec<InternalTransition<'d>>,
    pub(super) initial: usize,
    /// The states that one of their `always` leads out of whatever holds.
    pub(super) left_at_once: BTreeSet<usize>,
}

/// A way from one state to another, or back to itself.
pub(super) struct StateEdge<'d> {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) cause: StateEdgeCause<'d>,
    /// Only an operator goes this way.
    pub(super) is_operators: bool,
    /// The counters that grow on it.
    pub(super) counts: BTreeSet<&'d CounterName>,
    /// The counters that begin anew on it.
    pub(super) clears: ClearedCounters<'d>,
    /// The counters that have to be below some number for it.
    pub(super) bounded_by: BTreeSet<CounterName>,
}

/// What makes an instance go a way.
#[derive(Debug, Clone, Copy)]
pub(super) enum StateEdgeCause<'d> {
    Event(&'d EventName),
    /// The time passes: how long, and how often at most.
    Passed(TimeoutDue, Option<u32>),
    /// The time passes once too often.
    Exceeded(TimeoutDue, u32),
    Always,
}

/// Something that happens in a state without leaving it.
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
        // Whoever is still in the state when something else happens was not led out of it at once.
        let any = CounterRanges::default();
        let stayed =
            self.add_transitions(from, StateEdgeCause::Always, &state.always, (&any, any.clone()), numbers);
        if stayed.is_impossible() {
            self.left_at_once.insert(from);
            return;
        }
        self.add_timeout(from, state, &stayed, numbers);
        // Since then counters may have changed without its being left.
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

    /// Adds the ways of transitions that are looked at where counters were in `entered` on entry and are in `ranges` now;
    /// gives the ranges in which none is taken.
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
                // Nobody goes a way whose condition never holds.
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
            // What has no condition is taken, whatever holds.
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
            let mut passed = edge(to, StateEdgeCause::Passed(timeout.due, limit.map(|limit| limit.most)));
            passed.bounded_by.extend(limit.map(|limit| limit.counter.clone()));
            self.add(passed);
        }
        if let Some((limit, &to)) = limit.and_then(|limit| Some((limit, numbers.get(&limit.exceeded)?))) {
            self.add(edge(to, StateEdgeCause::Exceeded(timeout.due, limit.most)));
        }
    }

    /// Adds an edge, with what entering its end does.
    fn add(&mut self, mut edge: StateEdge<'d>) {
        let (_, target) = self.states[edge.to];
        edge.add_operations(&target.entry);
        self.edges.push(edge);
    }

    /// The edges that leave `state`.
    pub(super) fn edges_from(&self, state: usize) -> &[StateEdge<'d>] {
        // They were added state by state.
        let first = self.edges.partition_point(|edge| edge.from < state);
        let end = self.edges.partition_point(|edge| edge.from <= state);
        &self.edges[first..end]
    }

    /// Whether entering `state` clears `counter`.
    pub(super) fn clears_on_entry(&self, state: usize, counter: &CounterName) -> bool {
        operations_clear(&self.states[state].1.entry).has(counter)
    }

    /// The counters that begin anew on these edges, or by what happens in the states between them.
    pub(super) fn cleared_in(&self, set: &[usize]) -> ClearedCounters<'d> {
        let mut cleared = ClearedCounters::default();
        let mut states = BTreeSet::new();
        for &index in set {
            cleared.extend(&self.edges[index].clears);
            states.insert(self.edges[index].from);
        }
        for stay in &self.internal_transitions {
            // What happens at rest is no part of the loop, which only passes there.
            if states.contains(&stay.state) && self.states[stay.state].1.kind != StateKind::Resting {
                cleared.extend(&stay.clears);
            }
        }
        cleared
    }

    /// Whether an instance goes this way without any person and without having come to rest.
    pub(super) fn goes_on_by_itself(&self, edge: &StateEdge<'_>) -> bool {
        match self.states[edge.from].1.kind {
            // It has failed in name only.
            StateKind::Working | StateKind::Failed => !edge.is_operators,
            // Whoever leaves it by an event was at rest before. A time limit that leads back to it is a periodic check; one
            // that leads elsewhere does not wait for anybody.
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

/// Whether something that happens in the state changes counters without leaving it.
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

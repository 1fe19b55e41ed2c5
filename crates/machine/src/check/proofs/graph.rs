//! The graph of a definition's states: what leads from which to which, and what that does to counters.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::definition::{Definition, Due, Kind, State, Transition, TransitionEffect};
use super::super::super::guard::{Guard, Ranges};
use super::super::super::names::{CounterName, EventName, StateName};
use super::super::super::operation::{OnCounters, Operation};
use super::super::super::sender::Sender;
use super::ends;

/// The states by number, and the edges between them.
pub(super) struct Graph<'d> {
    pub(super) definition: &'d Definition,
    pub(super) states: Vec<(&'d StateName, &'d State)>,
    pub(super) edges: Vec<Edge<'d>>,
    /// What happens in each state without leaving it and clears counters, by itself.
    pub(super) stays: Vec<Stay<'d>>,
    pub(super) initial: usize,
    /// The states that one of their `always` leads out of whatever holds.
    pub(super) left_at_once: BTreeSet<usize>,
}

/// A way from one state to another, or back to itself.
pub(super) struct Edge<'d> {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) cause: EdgeCause<'d>,
    /// Only an operator goes this way.
    pub(super) is_operators: bool,
    /// The counters that grow on it.
    pub(super) counts: BTreeSet<&'d CounterName>,
    /// The counters that begin anew on it.
    pub(super) clears: Clears<'d>,
    /// The counters that have to be below some number for it.
    pub(super) bounded_by: BTreeSet<CounterName>,
}

/// What makes an instance go a way.
#[derive(Debug, Clone, Copy)]
pub(super) enum EdgeCause<'d> {
    Event(&'d EventName),
    /// The time passes: how long, and how often at most.
    Passed(Due, Option<u32>),
    /// The time passes once too often.
    Exceeded(Due, u32),
    Always,
}

/// Something that happens in a state without leaving it.
pub(super) struct Stay<'d> {
    pub(super) state: usize,
    pub(super) event: &'d EventName,
    pub(super) clears: Clears<'d>,
}

/// The counters that begin anew.
#[derive(Debug, Clone, Default)]
pub(super) struct Clears<'d> {
    pub(super) all: bool,
    pub(super) some: BTreeSet<&'d CounterName>,
}

impl Clears<'_> {
    pub(super) fn has(&self, counter: &CounterName) -> bool {
        self.all || self.some.contains(counter)
    }

    fn is_none(&self) -> bool {
        !self.all && self.some.is_empty()
    }
}

impl<'d> Graph<'d> {
    pub(super) fn new(definition: &'d Definition) -> Self {
        let states: Vec<_> = definition.states.iter().collect();
        let numbers: BTreeMap<&StateName, usize> =
            states.iter().enumerate().map(|(number, (name, _))| (*name, number)).collect();
        let initial = numbers.get(&definition.initial).copied().unwrap_or_default();
        let mut graph = Self {
            definition,
            states,
            edges: Vec::new(),
            stays: Vec::new(),
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
        let any = Ranges::default();
        let stayed =
            self.add_transitions(from, EdgeCause::Always, &state.always, (&any, any.clone()), numbers);
        if stayed.is_never() {
            self.left_at_once.insert(from);
            return;
        }
        self.add_timeout(from, state, &stayed, numbers);
        // Since then counters may have changed without its being left.
        let now = if changes_counters(state) { any } else { stayed.clone() };
        for (event, transitions) in &state.on {
            if ends::may_come(self.definition, state, event) {
                self.add_transitions(
                    from,
                    EdgeCause::Event(event),
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
        cause: EdgeCause<'d>,
        transitions: &'d [Transition],
        (entered, mut ranges): (&Ranges, Ranges),
        numbers: &BTreeMap<&StateName, usize>,
    ) -> Ranges {
        let is_operators = match cause {
            EdgeCause::Event(event) => self
                .definition
                .events
                .get(event)
                .is_some_and(|event| event.from.iter().all(|sender| *sender == Sender::Operator)),
            EdgeCause::Passed(..) | EdgeCause::Exceeded(..) | EdgeCause::Always => false,
        };
        for Transition { guard, effect } in transitions {
            let here = ranges.clone().both(&guard.as_ref().map(Guard::ranges).unwrap_or_default());
            match (effect, cause) {
                // Nobody goes a way whose condition never holds.
                _ if here.is_never() => {}
                (TransitionEffect::Move { operations, target }, _) => {
                    let Some(&to) = numbers.get(target) else { continue };
                    let mut edge = Edge {
                        from,
                        to,
                        cause,
                        is_operators,
                        counts: BTreeSet::new(),
                        clears: Clears::default(),
                        bounded_by: here.bounded().chain(entered.bounded()).cloned().collect(),
                    };
                    edge.does(operations);
                    self.add(edge);
                }
                (TransitionEffect::Stay { operations }, EdgeCause::Event(event)) => {
                    let clears = operations_clear(operations);
                    if !is_operators && !clears.is_none() {
                        self.stays.push(Stay { state: from, event, clears });
                    }
                }
                (TransitionEffect::Stay { .. } | TransitionEffect::Refuse { .. }, _) => {}
            }
            // What has no condition is taken, whatever holds.
            ranges = ranges.both(&guard.as_ref().map_or_else(Ranges::never, Guard::ranges_otherwise));
        }
        ranges
    }

    fn add_timeout(
        &mut self,
        from: usize,
        state: &'d State,
        stayed: &Ranges,
        numbers: &BTreeMap<&StateName, usize>,
    ) {
        let Some(timeout) = &state.timeout else { return };
        let limit = timeout.limit.as_ref();
        let edge = |to, cause| Edge {
            from,
            to,
            cause,
            is_operators: false,
            counts: limit.iter().map(|limit| &limit.counter).collect(),
            clears: Clears::default(),
            bounded_by: stayed.bounded().cloned().collect(),
        };
        if let Some(&to) = numbers.get(&timeout.target) {
            let mut passed = edge(to, EdgeCause::Passed(timeout.due, limit.map(|limit| limit.most)));
            passed.bounded_by.extend(limit.map(|limit| limit.counter.clone()));
            self.add(passed);
        }
        if let Some((limit, &to)) = limit.and_then(|limit| Some((limit, numbers.get(&limit.exceeded)?))) {
            self.add(edge(to, EdgeCause::Exceeded(timeout.due, limit.most)));
        }
    }

    /// Adds an edge, with what entering its end does.
    fn add(&mut self, mut edge: Edge<'d>) {
        let (_, target) = self.states[edge.to];
        edge.does(&target.entry);
        self.edges.push(edge);
    }

    /// The edges that leave `state`.
    pub(super) fn edges_from(&self, state: usize) -> &[Edge<'d>] {
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
    pub(super) fn cleared_in(&self, set: &[usize]) -> Clears<'d> {
        let mut cleared = Clears::default();
        let mut add = |clears: &Clears<'d>| {
            cleared.all |= clears.all;
            cleared.some.extend(&clears.some);
        };
        let mut states = BTreeSet::new();
        for &index in set {
            add(&self.edges[index].clears);
            states.insert(self.edges[index].from);
        }
        for stay in &self.stays {
            // What happens at rest is no part of the loop, which only passes there.
            if states.contains(&stay.state) && self.states[stay.state].1.kind != Kind::Resting {
                add(&stay.clears);
            }
        }
        cleared
    }

    /// Whether an instance goes this way without any person and without having come to rest.
    pub(super) fn goes_on_by_itself(&self, edge: &Edge<'_>) -> bool {
        match self.states[edge.from].1.kind {
            // It has failed in name only.
            Kind::Working | Kind::Failed => !edge.is_operators,
            // Whoever leaves it by an event was at rest before. A time limit that leads back to it is a periodic check; one
            // that leads elsewhere does not wait for anybody.
            Kind::Resting => match edge.cause {
                EdgeCause::Always => true,
                EdgeCause::Passed(..) | EdgeCause::Exceeded(..) => edge.from != edge.to,
                EdgeCause::Event(_) => false,
            },
            Kind::Final => false,
        }
    }
}

impl<'d> Edge<'d> {
    fn does(&mut self, operations: &'d [Operation]) {
        for operation in operations {
            if let OnCounters::Counts(counter) = operation.on_counters() {
                self.counts.insert(counter);
            }
        }
        let Clears { all, some } = operations_clear(operations);
        self.clears.all |= all;
        self.clears.some.extend(some);
    }
}

/// Whether something that happens in the state changes counters without leaving it.
fn changes_counters(state: &State) -> bool {
    state.on.values().flatten().any(|transition| match &transition.effect {
        TransitionEffect::Stay { operations } => {
            operations.iter().any(|operation| operation.on_counters() != OnCounters::Nothing)
        }
        TransitionEffect::Move { .. } | TransitionEffect::Refuse { .. } => false,
    })
}

fn operations_clear(operations: &[Operation]) -> Clears<'_> {
    let mut clears = Clears::default();
    for operation in operations {
        match operation.on_counters() {
            OnCounters::ClearsAll => clears.all = true,
            OnCounters::Clears(counter) => _ = clears.some.insert(counter),
            OnCounters::Counts(_) | OnCounters::Nothing => {}
        }
    }
    clears
}

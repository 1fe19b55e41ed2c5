//! A decision in progress: the instance as it changes, and the resulting effects.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::super::definition::{Definition, State, Timeout, TimeoutDue, Transition, TransitionEffect};
use super::super::guard::GuardVariables;
use super::super::instance::Instance;
use super::super::link::Links;
use super::super::names::{CounterName, StateName};
use super::super::operation::{Operation, OperationContext};
use super::super::raised_event::RaisedEvent;
use super::super::stimulus::{Effect, IgnoreReason, Outcome, Stimulus};
use super::super::visit::Visit;

/// The outcome of a decision, with its effects.
pub(super) type OutcomeWithEffects = (Outcome, Vec<Effect>);

/// A decision in progress.
pub(super) struct DecisionInProgress<'a> {
    definition: &'a Definition,
    instance: &'a mut Instance,
    stimulus: &'a Stimulus,
    args: &'a Map<String, Value>,
    now: DateTime<Utc>,
    raised: Vec<RaisedEvent>,
    /// The state before the decision, if resources may be released or claimed.
    previous: Option<&'a State>,
}

impl<'a> DecisionInProgress<'a> {
    /// Starts a decision.
    pub(super) fn new(
        definition: &'a Definition,
        instance: &'a mut Instance,
        stimulus: &'a Stimulus,
        args: &'a Map<String, Value>,
        now: DateTime<Utc>,
    ) -> Self {
        let held = !definition.resources.is_empty() && instance.visit.0 > 0;
        let previous = if held { definition.states.get(&instance.state) } else { None };
        Self { definition, instance, stimulus, args, now, raised: Vec::new(), previous }
    }

    /// Sets the initial links of a new instance.
    pub(super) fn link(&mut self, links: &Links) {
        self.instance.links.clone_from(links);
    }

    /// Completes the effects: `effects`, then a change of held resources, then the raised events in order.
    pub(super) fn finish(self, mut effects: Vec<Effect>) -> Vec<Effect> {
        if !self.definition.resources.is_empty() {
            let holds = |state: Option<&State>| state.map(|state| state.hold.clone()).unwrap_or_default();
            let units = holds(self.definition.states.get(&self.instance.state));
            if units != holds(self.previous) {
                effects.push(Effect::Hold { units });
            }
        }
        effects.extend(self.raised.into_iter().map(Effect::Raise));
        effects
    }

    /// The current instance.
    pub(super) fn instance(&self) -> &Instance {
        self.instance
    }

    /// The arguments of the event, or none.
    pub(super) fn args(&self) -> &'a Map<String, Value> {
        self.args
    }

    /// The time of the decision.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Whether a transition's guard holds.
    pub(super) fn holds(&self, transition: &Transition) -> bool {
        let Some(guard) = &transition.guard else { return true };
        let Instance { counters, data, .. } = &*self.instance;
        let Stimulus { facts, predicted, .. } = self.stimulus;
        let counters = &*self.definition.effective_counters(counters);
        let variables = GuardVariables { counters, data, args: self.args, facts, predicted };
        guard.holds(&self.definition.counters, variables)
    }

    /// Adds one to a counter, and returns the new count.
    pub(super) fn count(&mut self, counter: &CounterName) -> i64 {
        self.change().count(counter)
    }

    /// Applies operations in order.
    pub(super) fn apply(&mut self, operations: &[Operation]) {
        let mut change = self.change();
        for operation in operations {
            operation.apply(&mut change);
        }
    }

    fn change(&mut self) -> OperationContext<'_> {
        let Self { definition, instance, args, raised, .. } = self;
        OperationContext { instance, initial_counts: &definition.initial_counts, args, raised }
    }

    /// Stays in `state`, unless an `always` transition holds after the changes.
    pub(super) fn stay(&mut self, state: &State) -> OutcomeWithEffects {
        if let Some((operations, target)) = self.immediate_transition(state) {
            self.apply(operations);
            return self.enter(target);
        }
        (Outcome::Stayed, Vec::new())
    }

    /// Starts the time limit of a state whose first action starts, or resumes a paused one.
    pub(super) fn start_or_resume_timeout(
        &mut self,
        state: &State,
    ) -> Result<OutcomeWithEffects, IgnoreReason> {
        let Some(timeout @ Timeout { due: TimeoutDue::After(full), .. }) = &state.timeout else {
            return Err(IgnoreReason::NotDue);
        };
        let waits = self.instance.remaining.is_some() || !state.invoke.is_empty();
        if !waits || self.instance.deadline_at.is_some() {
            return Err(IgnoreReason::NotDue);
        }
        let left = self.instance.remaining.take().unwrap_or(*full);
        self.instance.deadline_at = Some(self.due_after(timeout, left));
        Ok((Outcome::Stayed, Vec::new()))
    }

    /// Pauses a running time limit. A limit at a fixed time (`at:`) is not paused.
    pub(super) fn suspend(&mut self, state: &State) -> OutcomeWithEffects {
        let runs = matches!(state.timeout, Some(Timeout { due: TimeoutDue::After(_), .. }));
        if let Some(at) = self.instance.deadline_at.filter(|_| runs) {
            self.instance.remaining = Some((at - self.now).to_std().unwrap_or_default());
            self.instance.deadline_at = None;
        }
        (Outcome::Stayed, Vec::new())
    }

    /// Stays, and removes the deadline.
    pub(super) fn disarm(&mut self) -> OutcomeWithEffects {
        self.instance.deadline_at = None;
        (Outcome::Stayed, Vec::new())
    }

    /// Returns the operations and the target of the first `always` transition that holds.
    fn immediate_transition<'s>(&self, state: &'s State) -> Option<(&'s [Operation], &'s StateName)> {
        let transition = state.always.iter().find(|transition| self.holds(transition))?;
        match &transition.effect {
            TransitionEffect::Move { operations, target } => Some((operations, target)),
            TransitionEffect::Stay { .. } | TransitionEffect::Refuse { .. } => None,
        }
    }

    /// Leaves the current state and enters `target`, and follows its `always` transitions.
    pub(super) fn enter(&mut self, target: &StateName) -> OutcomeWithEffects {
        let before = (self.instance.state.clone(), self.instance.visit);
        let state = self.pass_to(target);
        self.start_actions(state, before)
    }

    /// Re-enters the current state; its actions continue unless an `always` transition leaves it.
    pub(super) fn keep(&mut self, present: &StateName) -> OutcomeWithEffects {
        let before = (self.instance.state.clone(), self.instance.visit);
        let raised = self.raised.len();
        match self.pass_to(present) {
            Some(state) if self.instance.state == before.0 => {
                // The state's actions continue, so no start is reported.
                self.raised.truncate(raised);
                // The actions have started already, so the time limit starts at once.
                self.instance.deadline_at = self.deadline(state, DeadlineStart::OnEntry);
                let effect = Effect::Keep { visit: self.instance.visit, actions: state.invoke.clone() };
                self.moved(before.0, vec![effect])
            }
            state => self.start_actions(state, before),
        }
    }

    /// Enters `target`, follows its `always` transitions, and returns the last state.
    fn pass_to(&mut self, target: &StateName) -> Option<&'a State> {
        let from = self.instance.state.clone();
        let mut state = self.definition.states.get_key_value(target)?;
        // Loading refuses cycles of `always`, so this many entries are enough.
        for _ in 0..=self.definition.states.len() {
            let (name, entered) = state;
            self.instance.state = name.clone();
            self.instance.visit = self.instance.visit.next();
            self.instance.remaining = None;
            self.apply(&entered.entry);
            let Some((operations, next)) = self.immediate_transition(entered) else { break };
            self.apply(operations);
            state = self.definition.states.get_key_value(next)?;
        }
        if self.instance.state != from {
            self.instance.since = self.now;
        }
        Some(state.1)
    }

    /// Cancels remaining actions, starts those that `state` invokes, and starts its time limit if that runs from entry.
    fn start_actions(
        &mut self,
        state: Option<&State>,
        (from, left): (StateName, Visit),
    ) -> OutcomeWithEffects {
        let mut effects = Vec::new();
        // Cancelled even if the state invokes nothing: an earlier version of the definition may have started actions.
        if left.0 > 0 {
            effects.push(Effect::Cancel { visit: left });
        }
        if let Some(state) = state {
            let clock =
                if state.invoke.is_empty() { DeadlineStart::OnEntry } else { DeadlineStart::OnFirstAction };
            self.instance.deadline_at = self.deadline(state, clock);
            if !state.invoke.is_empty() {
                effects.push(Effect::Invoke { visit: self.instance.visit, actions: state.invoke.clone() });
            }
        }
        self.moved(from, effects)
    }

    /// Returns the deadline of `state`, if its time limit starts now.
    fn deadline(&self, state: &State, clock: DeadlineStart) -> Option<DateTime<Utc>> {
        let timeout = state.timeout.as_ref()?;
        match (timeout.due, clock) {
            (TimeoutDue::At(at), _) => Some(at),
            (TimeoutDue::After(duration), DeadlineStart::OnEntry) => Some(self.due_after(timeout, duration)),
            (TimeoutDue::After(_), DeadlineStart::OnFirstAction) => None,
        }
    }

    /// Returns the deadline after the `left` part of a time limit, if it starts now.
    fn due_after(&self, timeout: &Timeout, left: Duration) -> DateTime<Utc> {
        let at = later(self.now, left);
        let is_shared = timeout.keeps_actions && left >= MIN_ALIGNED_TIMEOUT;
        if is_shared { at.round_subsecs(0) } else { at }
    }

    fn moved(&self, from: StateName, effects: Vec<Effect>) -> OutcomeWithEffects {
        let to = self.instance.state.clone();
        (Outcome::Moved { from, to }, effects)
    }
}

/// A state that keeps its actions is resting and often has many instances: from this duration on, its time limit
/// expires at a full second, so that all instances due in that second are re-entered in one batch, which is cheap.
const MIN_ALIGNED_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether a state's time limit starts on entry, instead of with its first action.
enum DeadlineStart {
    OnEntry,
    OnFirstAction,
}

fn later(now: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    let delta = TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    now.checked_add_signed(delta).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

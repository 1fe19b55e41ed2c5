//! A decision in the making: the instance as it changes, and what is to be done in the end.

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

/// What an instance does, and what is to be done because of it.
pub(super) type OutcomeWithEffects = (Outcome, Vec<Effect>);

/// The instance as it changes.
pub(super) struct DecisionInProgress<'a> {
    definition: &'a Definition,
    instance: &'a mut Instance,
    stimulus: &'a Stimulus,
    args: &'a Map<String, Value>,
    now: DateTime<Utc>,
    raised: Vec<RaisedEvent>,
    /// The state that the instance was in, where that matters for what it holds.
    left: Option<&'a State>,
}

impl<'a> DecisionInProgress<'a> {
    /// Begins with the instance as it is.
    pub(super) fn new(
        definition: &'a Definition,
        instance: &'a mut Instance,
        stimulus: &'a Stimulus,
        args: &'a Map<String, Value>,
        now: DateTime<Utc>,
    ) -> Self {
        let held = !definition.resources.is_empty() && instance.visit.0 > 0;
        let left = if held { definition.states.get(&instance.state) } else { None };
        Self { definition, instance, stimulus, args, now, raised: Vec::new(), left }
    }

    /// Gives the instance the links that it has from the beginning.
    pub(super) fn link(&mut self, links: &Links) {
        self.instance.links.clone_from(links);
    }

    /// All that is to be done: `effects`, what is held from here on if that is another, and what was raised, in order.
    pub(super) fn finish(self, mut effects: Vec<Effect>) -> Vec<Effect> {
        if !self.definition.resources.is_empty() {
            let holds = |state: Option<&State>| state.map(|state| state.hold.clone()).unwrap_or_default();
            let units = holds(self.definition.states.get(&self.instance.state));
            if units != holds(self.left) {
                effects.push(Effect::Hold { units });
            }
        }
        effects.extend(self.raised.into_iter().map(Effect::Raise));
        effects
    }

    /// The instance as it stands.
    pub(super) fn instance(&self) -> &Instance {
        self.instance
    }

    /// The arguments of the event, or nothing.
    pub(super) fn args(&self) -> &'a Map<String, Value> {
        self.args
    }

    /// The time of the decision.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Says whether a transition's guard holds.
    pub(super) fn holds(&self, transition: &Transition) -> bool {
        let Some(guard) = &transition.guard else { return true };
        let Instance { counters, data, .. } = &*self.instance;
        let Stimulus { facts, predicted, .. } = self.stimulus;
        let counters = &*self.definition.effective_counters(counters);
        let variables = GuardVariables { counters, data, args: self.args, facts, predicted };
        guard.holds(&self.definition.counters, variables)
    }

    /// Adds one to a counter, and says what it is then.
    pub(super) fn count(&mut self, counter: &CounterName) -> i64 {
        self.change().count(counter)
    }

    /// Makes changes, in order.
    pub(super) fn apply(&mut self, operations: &[Operation]) {
        let mut change = self.change();
        for operation in operations {
            operation.apply(&mut change);
        }
    }

    fn change(&mut self) -> OperationContext<'_> {
        let Self { definition, instance, args, raised, .. } = self;
        OperationContext { instance, beginnings: &definition.initial_counts, args, raised }
    }

    /// Stays in `state`, unless the changes make it one to leave at once.
    pub(super) fn stay(&mut self, state: &State) -> OutcomeWithEffects {
        if let Some((operations, target)) = self.immediate_transition(state) {
            self.apply(operations);
            return self.enter(target);
        }
        (Outcome::Stayed, Vec::new())
    }

    /// Starts the clock of a state that waited for its actions to begin, or lets one go on that stood still.
    pub(super) fn start_or_resume_timeout(
        &mut self,
        state: &State,
    ) -> Result<OutcomeWithEffects, IgnoreReason> {
        let Some(timeout @ Timeout { due: TimeoutDue::After(whole), .. }) = &state.timeout else {
            return Err(IgnoreReason::NotDue);
        };
        let waits = self.instance.remaining.is_some() || !state.invoke.is_empty();
        if !waits || self.instance.deadline_at.is_some() {
            return Err(IgnoreReason::NotDue);
        }
        let left = self.instance.remaining.take().unwrap_or(*whole);
        self.instance.deadline_at = Some(self.due_after(timeout, left));
        Ok((Outcome::Stayed, Vec::new()))
    }

    /// Stops the clock where it runs. A time on the calendar comes whatever happens, so that is let be.
    pub(super) fn suspend(&mut self, state: &State) -> OutcomeWithEffects {
        let runs = matches!(state.timeout, Some(Timeout { due: TimeoutDue::After(_), .. }));
        if let Some(at) = self.instance.deadline_at.filter(|_| runs) {
            self.instance.remaining = Some((at - self.now).to_std().unwrap_or_default());
            self.instance.deadline_at = None;
        }
        (Outcome::Stayed, Vec::new())
    }

    /// Stays, with no deadline any more.
    pub(super) fn disarm(&mut self) -> OutcomeWithEffects {
        self.instance.deadline_at = None;
        (Outcome::Stayed, Vec::new())
    }

    /// What the first `always` transition that holds does, and where it leads.
    fn immediate_transition<'s>(&self, state: &'s State) -> Option<(&'s [Operation], &'s StateName)> {
        let transition = state.always.iter().find(|transition| self.holds(transition))?;
        match &transition.effect {
            TransitionEffect::Move { operations, target } => Some((operations, target)),
            TransitionEffect::Stay { .. } | TransitionEffect::Refuse { .. } => None,
        }
    }

    /// Leaves the present state and enters `target`, and the states that it leads to at once.
    pub(super) fn enter(&mut self, target: &StateName) -> OutcomeWithEffects {
        let before = (self.instance.state.clone(), self.instance.visit);
        let state = self.pass_to(target);
        self.start_actions(state, before)
    }

    /// Enters the present state anew, whose actions go on unless it leads elsewhere at once.
    pub(super) fn keep(&mut self, present: &StateName) -> OutcomeWithEffects {
        let before = (self.instance.state.clone(), self.instance.visit);
        let raised = self.raised.len();
        match self.pass_to(present) {
            Some(state) if self.instance.state == before.0 => {
                // What the state began goes on, so nobody is told that it begins.
                self.raised.truncate(raised);
                // The actions have begun, so the clock need not wait for that.
                self.instance.deadline_at = self.deadline(state, DeadlineStart::OnEntry);
                let effect = Effect::Keep { visit: self.instance.visit, actions: state.invoke.clone() };
                self.moved(before.0, vec![effect])
            }
            state => self.start_actions(state, before),
        }
    }

    /// Enters `target`, and the states that it leads to at once; gives the one where that ends.
    fn pass_to(&mut self, target: &StateName) -> Option<&'a State> {
        let from = self.instance.state.clone();
        let mut state = self.definition.states.get_key_value(target)?;
        // No circle of `always` was loaded, so this many entries are enough.
        for _ in 0..=self.definition.states.len() {
            let (name, entered) = state;
            self.instance.state = name.clone();
            self.instance.visit = self.instance.visit.next();
            self.instance.entered_at = self.now;
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

    /// Cancels what was to be done before, starts what `state` invokes, and its clock where that runs from entry.
    fn start_actions(
        &mut self,
        state: Option<&State>,
        (from, left): (StateName, Visit),
    ) -> OutcomeWithEffects {
        let mut effects = Vec::new();
        // Also where the state invokes nothing: under an earlier version of the definition it may have.
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

    /// When the time of `state` passes, where its clock starts now.
    fn deadline(&self, state: &State, clock: DeadlineStart) -> Option<DateTime<Utc>> {
        let timeout = state.timeout.as_ref()?;
        match (timeout.due, clock) {
            (TimeoutDue::At(at), _) => Some(at),
            (TimeoutDue::After(duration), DeadlineStart::OnEntry) => Some(self.due_after(timeout, duration)),
            (TimeoutDue::After(_), DeadlineStart::OnFirstAction) => None,
        }
    }

    /// When `left` of a time limit has passed, where its clock starts now.
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

/// A state that keeps its actions is one of rest, and mostly there are many in it: from this length on, its time passes
/// at a full second, so that all of a second are entered anew together. Their number is what makes that cheap.
const MIN_ALIGNED_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether a state's time runs from entry, or waits for its first action to begin.
enum DeadlineStart {
    OnEntry,
    OnFirstAction,
}

fn later(now: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    let delta = TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    now.checked_add_signed(delta).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

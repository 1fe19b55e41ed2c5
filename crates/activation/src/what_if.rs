//! Replay of an instance's recorded history under another definition.
//!
//! Events are taken from the record at their recorded times. Time limits pass as the other definition says. An action that
//! is not in the record, because the replayed instance is in another state, is assumed to begin at once. It ends as recorded
//! if an end is recorded while the instance waits for it, and otherwise not at all.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use machine::{
    ActionName, Cause, Decision, Definition, Effect, EventName, EventSource, Instance, Links, Outcome,
    StateKind, StateName, Stimulus, create_linked, decide, is_failed_state_name,
};
use serde::Serialize;

use crate::activation::{Activation, DeadlineAdjustment};

/// How long after its due time a time limit still gives way to a recorded event: recorded times are not exact.
const DEADLINE_TOLERANCE: TimeDelta = TimeDelta::seconds(1);

/// How many time limits may pass between two recorded entries.
const MAX_PASSED_DEADLINES: usize = 1_000_000;

/// The differences between recorded and replayed history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WhatIfReport {
    /// Number of replayed instances.
    pub instances: u64,
    /// Instances that would be in another state.
    pub elsewhere: Vec<DivergedInstance>,
    /// How often each action was invoked.
    pub actions: BTreeMap<ActionName, ComparedCount>,
    /// How often each Failed state was entered.
    pub failures: BTreeMap<StateName, ComparedCount>,
}

/// An instance that would be in another state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DivergedInstance {
    /// The name of the instance.
    pub name: String,
    /// Its recorded state.
    pub is: StateName,
    /// Its state after the replay.
    pub would_be: StateName,
}

/// A recorded and a replayed count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ComparedCount {
    /// The recorded count.
    pub was: u64,
    /// The replayed count.
    pub would_be: u64,
}

impl ComparedCount {
    /// Adds the counts of `other`.
    pub fn add(&mut self, other: Self) {
        self.was += other.was;
        self.would_be += other.would_be;
    }
}

/// A recorded stimulus with its decision.
#[derive(Debug, Clone, Copy)]
pub struct RecordedDecision<'a> {
    /// Time of the decision.
    pub at: DateTime<Utc>,
    /// The stimulus.
    pub stimulus: &'a Stimulus,
    /// The decision by the definition that was active.
    pub decision: &'a Decision,
}

/// The replay of one instance under another definition.
#[derive(Debug)]
pub struct WhatIfReplay<'a> {
    definition: &'a Definition,
    instance: Instance,
    /// Ends of actions that were applied in the current visit.
    ended: BTreeSet<EventName>,
    actions: BTreeMap<ActionName, ComparedCount>,
    failures: BTreeMap<StateName, ComparedCount>,
}

impl<'a> WhatIfReplay<'a> {
    /// Continues `instance`, which followed `before` until `at`, under `definition`; `None` where it would be stranded.
    #[must_use]
    pub fn branch_off(
        definition: &'a Definition,
        before: &Definition,
        instance: &Instance,
        at: DateTime<Utc>,
    ) -> Option<Self> {
        let activation = Activation::new(Some(before), definition);
        let carried = activation.states.get(&instance.state)?;
        let mut instance = instance.clone();
        let deadline_at = match carried.deadline {
            DeadlineAdjustment::Keep => instance.deadline_at,
            DeadlineAdjustment::Disarm => None,
            DeadlineAdjustment::At(at) => Some(at),
            DeadlineAdjustment::Shift(by) => instance.deadline_at.and_then(|at| at.checked_add_signed(by)),
            // A suspended instance waits for an action to begin.
            DeadlineAdjustment::Arm(_) if instance.remaining.is_some() => instance.deadline_at,
            DeadlineAdjustment::Arm(after) => instance.deadline_at.or_else(|| at.checked_add_signed(after)),
        };
        activation.apply(&mut instance, carried.to.clone(), deadline_at);
        Some(Self::of(definition, instance))
    }

    fn of(definition: &'a Definition, instance: Instance) -> Self {
        let (ended, actions, failures) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Self { definition, instance, ended, actions, failures }
    }

    /// Starts with the creation of an instance.
    #[must_use]
    pub fn begin(definition: &'a Definition, name: &str, created: RecordedDecision<'_>) -> Self {
        let links = match &created.stimulus.cause {
            Cause::Created { links } => links.clone(),
            Cause::Event { .. }
            | Cause::Began { .. }
            | Cause::Suspend { .. }
            | Cause::Retry { .. }
            | Cause::Deadline { .. }
            | Cause::Force { .. } => Links::new(),
        };
        let decision = create_linked(definition, name, links, created.stimulus.facts.clone(), created.at);
        let mut replay = Self::of(definition, decision.instance.clone());
        replay.tally(&decision);
        replay.record(created.decision);
        replay
    }

    /// Applies the next recorded entry.
    pub fn follow(&mut self, recorded: RecordedDecision<'_>) {
        self.record(recorded.decision);
        self.pass_time(recorded.at - DEADLINE_TOLERANCE);
        if let Some(cause) = self.cause(recorded) {
            self.apply_stimulus(&Stimulus { cause, ..recorded.stimulus.clone() }, recorded.at);
        }
        let is_in_step = *self.renamed(&recorded.decision.instance.state) == self.instance.state;
        if !is_in_step {
            self.begin_actions(recorded.at);
        }
    }

    /// Ends the replay at `until`, the end of the record, and adds its differences to `what_if`; `stored` is the recorded
    /// instance at that time.
    pub fn end(mut self, stored: &Instance, until: DateTime<Utc>, what_if: &mut WhatIfReport) {
        self.pass_time(until - DEADLINE_TOLERANCE);
        what_if.instances += 1;
        for (action, counts) in std::mem::take(&mut self.actions) {
            what_if.actions.entry(action).or_default().add(counts);
        }
        if *self.renamed(&stored.state) != self.instance.state {
            let (is, would_be) = (stored.state.clone(), self.instance.state.clone());
            what_if.elsewhere.push(DivergedInstance { name: stored.name.clone(), is, would_be });
        }
        for (state, counts) in self.failures {
            let sum = what_if.failures.entry(state).or_default();
            sum.was += counts.was;
            sum.would_be += counts.would_be;
        }
    }

    /// The name of a recorded state in the other definition.
    fn renamed<'s>(&'s self, state: &'s StateName) -> &'s StateName {
        self.definition.renamed.get(state).unwrap_or(state)
    }

    /// The cause to apply for a recorded entry, if any.
    fn cause(&self, recorded: RecordedDecision<'_>) -> Option<Cause> {
        let visit = self.instance.visit;
        let state = self.definition.states.get(&self.instance.state)?;
        match &recorded.stimulus.cause {
            Cause::Created { .. } => None,
            Cause::Event { name, source: EventSource::Action, args, .. } => {
                let is_of = |action: &str| {
                    name.as_str().strip_prefix(action).is_some_and(|end| matches!(end, "-ok" | "-failed"))
                };
                let waits = state.invoke.iter().any(|invoke| is_of(invoke.action.as_str()));
                (waits && !self.ended.contains(name)).then(|| Cause::Event {
                    name: name.clone(),
                    source: EventSource::Action,
                    args: args.clone(),
                    visit: Some(visit),
                })
            }
            Cause::Event { visit: Some(_), .. }
                if matches!(recorded.decision.outcome, Outcome::Ignored(_)) =>
            {
                None
            }
            Cause::Event { name, source, args, .. } => Some(Cause::Event {
                name: name.clone(),
                source: source.clone(),
                args: args.clone(),
                visit: None,
            }),
            Cause::Began { .. } => Some(Cause::Began { visit }),
            Cause::Suspend { .. } => Some(Cause::Suspend { visit }),
            Cause::Retry { action, .. } => Some(Cause::Retry { visit, action: action.clone() }),
            Cause::Deadline { .. } => Some(Cause::Deadline { visit }),
            Cause::Force { to, reason, .. } => Some(Cause::Force {
                expected: self.instance.state.clone(),
                to: self.renamed(to).clone(),
                reason: reason.clone(),
            }),
        }
    }

    /// Applies all time limits that are due at `until`.
    fn pass_time(&mut self, until: DateTime<Utc>) {
        for _ in 0..MAX_PASSED_DEADLINES {
            let Some(due) = self.instance.deadline_at.filter(|due| *due <= until) else { return };
            let visit = self.instance.visit;
            self.apply_stimulus(&Stimulus::new(Cause::Deadline { visit }), due);
            if self.instance.visit == visit {
                return;
            }
            self.begin_actions(due);
        }
    }

    /// Begins the actions of the current visit.
    fn begin_actions(&mut self, at: DateTime<Utc>) {
        self.apply_stimulus(&Stimulus::new(Cause::Began { visit: self.instance.visit }), at);
    }

    fn apply_stimulus(&mut self, stimulus: &Stimulus, at: DateTime<Utc>) {
        if let Cause::Event { name, source: EventSource::Action, .. } = &stimulus.cause {
            self.ended.insert(name.clone());
        }
        let decision = decide(self.definition, &self.instance, stimulus, at);
        if decision.instance.visit != self.instance.visit || matches!(stimulus.cause, Cause::Retry { .. }) {
            self.ended.clear();
        }
        self.tally(&decision);
        self.instance = decision.instance;
    }

    /// Counts the effects of a replayed decision.
    fn tally(&mut self, decision: &Decision) {
        for action in invoked_actions(decision) {
            self.actions.entry(action.clone()).or_default().would_be += 1;
        }
        if let Some(failed) = entered_failed_state(self.definition, decision) {
            self.failures.entry(failed).or_default().would_be += 1;
        }
    }

    /// Counts the effects of a recorded decision.
    fn record(&mut self, decision: &Decision) {
        for action in invoked_actions(decision) {
            self.actions.entry(action.clone()).or_default().was += 1;
        }
        if let Outcome::Moved { to, .. } = &decision.outcome
            && let to = self.renamed(to).clone()
            && is_failed_state_name(to.as_str())
        {
            self.failures.entry(to).or_default().was += 1;
        }
    }
}

/// The actions that a decision invokes.
fn invoked_actions(decision: &Decision) -> impl Iterator<Item = &ActionName> {
    let invoked = decision.effects.iter().flat_map(|effect| match effect {
        Effect::Invoke { actions, .. } => actions.as_slice(),
        Effect::Cancel { .. } | Effect::Keep { .. } | Effect::Hold { .. } | Effect::Raise(_) => &[],
    });
    invoked.map(|invoke| &invoke.action)
}

fn entered_failed_state(definition: &Definition, decision: &Decision) -> Option<StateName> {
    let Outcome::Moved { to, .. } = &decision.outcome else { return None };
    definition.states.get(to).is_some_and(|state| state.kind == StateKind::Failed).then(|| to.clone())
}

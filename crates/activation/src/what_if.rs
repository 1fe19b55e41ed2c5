//! What would have happened under another definition to an instance whose history is known.
//!
//! What others said is taken from the record, at the time at which they said it. Time limits pass by the
//! other definition. An action that the record does not have, because the instance would have been elsewhere, is taken to
//! begin at once; its end is that of the record where one comes while the instance waits for it, and otherwise none.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use machine::{
    ActionName, Cause, Decision, Definition, Effect, EventName, EventSource, Instance, Links, Outcome,
    StateKind, StateName, Stimulus, create_linked, decide, is_failed_state_name,
};
use serde::Serialize;

use crate::activation::{Activation, DeadlineAdjustment};

/// How much later than due a recorded event may have come before its time limit: no clockwork is exact.
const DEADLINE_TOLERANCE: TimeDelta = TimeDelta::seconds(1);

/// How many time limits may pass between two entries of a record.
const MAX_PASSED_DEADLINES: usize = 1_000_000;

/// What went one way and would have gone another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WhatIfReport {
    /// How many instances were followed.
    pub instances: u64,
    /// Those that would be in another state.
    pub elsewhere: Vec<DivergedInstance>,
    /// How often each action was asked for.
    pub actions: BTreeMap<ActionName, ComparedCount>,
    /// How often each Failed state was entered.
    pub failures: BTreeMap<StateName, ComparedCount>,
}

/// An instance that would be in another state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DivergedInstance {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub is: StateName,
    /// Where it would be.
    pub would_be: StateName,
}

/// A number as it was, and as it would have been.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ComparedCount {
    /// As it was.
    pub was: u64,
    /// As it would have been.
    pub would_be: u64,
}

impl ComparedCount {
    /// Adds others to these.
    pub fn add(&mut self, other: Self) {
        self.was += other.was;
        self.would_be += other.would_be;
    }
}

/// An entry of a record.
#[derive(Debug, Clone, Copy)]
pub struct RecordedDecision<'a> {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub stimulus: &'a Stimulus,
    /// What the definition in force made of it.
    pub decision: &'a Decision,
}

/// An instance on its way under another definition.
#[derive(Debug)]
pub struct WhatIfReplay<'a> {
    definition: &'a Definition,
    instance: Instance,
    /// The events of actions that have come in the present visit.
    ended: BTreeSet<EventName>,
    actions: BTreeMap<ActionName, ComparedCount>,
    failures: BTreeMap<StateName, ComparedCount>,
}

impl<'a> WhatIfReplay<'a> {
    /// Lets an instance go on under `definition` that followed `before` until `at`; nothing where it would be stranded.
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
            // While it stands still it waits for an action to begin.
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

    /// Begins with an instance that comes to be.
    #[must_use]
    pub fn begin(definition: &'a Definition, name: &str, created: RecordedDecision<'_>) -> Self {
        let links = match &created.stimulus.cause {
            Cause::Created { links } => links.clone(),
            Cause::Event { .. }
            | Cause::Began { .. }
            | Cause::Suspend { .. }
            | Cause::Deadline { .. }
            | Cause::Force { .. } => Links::new(),
        };
        let decision = create_linked(definition, name, links, created.stimulus.facts.clone(), created.at);
        let mut course = Self::of(definition, decision.instance.clone());
        course.tally(&decision);
        course.record(created.decision);
        course
    }

    /// Follows the record by one entry.
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

    /// Ends the course at the time up to which there is a record, where the instance was as `stored` is.
    pub fn end(mut self, stored: &Instance, until: DateTime<Utc>, what_if: &mut WhatIfReport) {
        self.pass_time(until - DEADLINE_TOLERANCE);
        what_if.instances += 1;
        for (action, both) in std::mem::take(&mut self.actions) {
            what_if.actions.entry(action).or_default().add(both);
        }
        if *self.renamed(&stored.state) != self.instance.state {
            let (is, would_be) = (stored.state.clone(), self.instance.state.clone());
            what_if.elsewhere.push(DivergedInstance { name: stored.name.clone(), is, would_be });
        }
        for (state, both) in self.failures {
            let sum = what_if.failures.entry(state).or_default();
            sum.was += both.was;
            sum.would_be += both.would_be;
        }
    }

    /// What a state of the record is called here.
    fn renamed<'s>(&'s self, state: &'s StateName) -> &'s StateName {
        self.definition.renamed.get(state).unwrap_or(state)
    }

    /// What an entry of the record is here, if it is anything.
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
            Cause::Deadline { .. } => Some(Cause::Deadline { visit }),
            Cause::Force { to, reason, .. } => Some(Cause::Force {
                expected: self.instance.state.clone(),
                to: self.renamed(to).clone(),
                reason: reason.clone(),
            }),
        }
    }

    /// Lets all time limits pass that are due at `until`.
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

    /// Lets the actions of the present visit begin, if they have not.
    fn begin_actions(&mut self, at: DateTime<Utc>) {
        self.apply_stimulus(&Stimulus::new(Cause::Began { visit: self.instance.visit }), at);
    }

    fn apply_stimulus(&mut self, stimulus: &Stimulus, at: DateTime<Utc>) {
        if let Cause::Event { name, source: EventSource::Action, .. } = &stimulus.cause {
            self.ended.insert(name.clone());
        }
        let decision = decide(self.definition, &self.instance, stimulus, at);
        if decision.instance.visit != self.instance.visit {
            self.ended.clear();
        }
        self.tally(&decision);
        self.instance = decision.instance;
    }

    /// Counts what would have followed.
    fn tally(&mut self, decision: &Decision) {
        for action in invoked_actions(decision) {
            self.actions.entry(action.clone()).or_default().would_be += 1;
        }
        if let Some(failed) = entered_failed_state(self.definition, decision) {
            self.failures.entry(failed).or_default().would_be += 1;
        }
    }

    /// Counts what followed.
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

/// The actions that a decision asks for.
fn invoked_actions(decision: &Decision) -> impl Iterator<Item = &ActionName> {
    let asked = decision.effects.iter().flat_map(|effect| match effect {
        Effect::Invoke { actions, .. } => actions.as_slice(),
        Effect::Cancel { .. } | Effect::Keep { .. } | Effect::Hold { .. } | Effect::Raise(_) => &[],
    });
    asked.map(|invoke| &invoke.action)
}

fn entered_failed_state(definition: &Definition, decision: &Decision) -> Option<StateName> {
    let Outcome::Moved { to, .. } = &decision.outcome else { return None };
    definition.states.get(to).is_some_and(|state| state.kind == StateKind::Failed).then(|| to.clone())
}

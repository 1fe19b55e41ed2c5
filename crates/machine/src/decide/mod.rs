//! Decisions on stimuli.
//!
//! An event is checked in this order: the sender, the visit, whether the state handles it, and the guards of its
//! transitions. Every entry of a state goes through [`DecisionInProgress::enter`].

mod step;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::definition::{Definition, State, Transition, TransitionEffect};
use super::instance::Instance;
use super::link::Links;
use super::names::{EventName, StateName};
use super::prediction::ModelQuestion;
use super::sender::EventSource;
use super::stimulus::{Cause, Decision, Effect, IgnoreReason, Outcome, Stimulus};
use super::visit::Visit;
use step::{DecisionInProgress, OutcomeWithEffects};

/// Decides what follows when `stimulus` happens to `instance` at `now`.
///
/// Pure: equal arguments give equal results, and nothing else is read or changed. An ignored stimulus leaves the
/// instance unchanged.
#[must_use]
pub fn decide(
    definition: &Definition,
    instance: &Instance,
    stimulus: &Stimulus,
    now: DateTime<Utc>,
) -> Decision {
    let mut instance = instance.clone();
    let (outcome, effects) = advance(definition, &mut instance, stimulus, now);
    Decision { outcome, instance, effects }
}

/// Like [`decide`], but changes the instance in place.
pub fn advance(
    definition: &Definition,
    instance: &mut Instance,
    stimulus: &Stimulus,
    now: DateTime<Utc>,
) -> (Outcome, Vec<Effect>) {
    let none = Map::new();
    let args = match &stimulus.cause {
        Cause::Event { args, .. } => args,
        Cause::Created { .. }
        | Cause::Began { .. }
        | Cause::Suspend { .. }
        | Cause::Retry { .. }
        | Cause::Deadline { .. }
        | Cause::Force { .. } => &none,
    };
    let mut step = DecisionInProgress::new(definition, instance, stimulus, args, now);
    // A stimulus is ignored before anything is changed.
    match follow(definition, &stimulus.cause, &mut step) {
        Ok((outcome, effects)) => (outcome, step.finish(effects)),
        Err(ignored) => (Outcome::Ignored(ignored), Vec::new()),
    }
}

/// Whether a guard that may be evaluated when `cause` happens in `state` reads facts.
///
/// If none does, the stimulus and history need no facts.
#[must_use]
pub fn reads_facts(definition: &Definition, state: &StateName, cause: &Cause) -> bool {
    let on_event = match cause {
        Cause::Event { name, .. } => definition.states.get(state).and_then(|state| state.on.get(name)),
        Cause::Created { .. } | Cause::Deadline { .. } | Cause::Force { .. } => None,
        // These only start and stop the clock of a state.
        Cause::Began { .. } | Cause::Suspend { .. } | Cause::Retry { .. } => return false,
    };
    definition.reads_facts_on_entry || on_event.into_iter().flatten().any(Transition::reads_facts)
}

/// Whether the decision on `cause` in `state` can invoke actions, as far as the definition alone tells: guards are not
/// evaluated, and a state with `always` transitions is taken to lead to one that does.
#[must_use]
pub fn can_invoke(definition: &Definition, state: &StateName, cause: &Cause) -> bool {
    let present = definition.states.get(state);
    let can_invoke_on_entry = |target: &StateName| {
        let entered = definition.states.get(target);
        entered.is_some_and(|entered| !entered.invoke.is_empty() || !entered.always.is_empty())
    };
    match cause {
        Cause::Created { .. } => can_invoke_on_entry(&definition.initial),
        Cause::Event { name, .. } => {
            let transitions = present.and_then(|present| present.on.get(name));
            transitions.into_iter().flatten().any(|transition| match &transition.effect {
                TransitionEffect::Move { target, .. } => can_invoke_on_entry(target),
                TransitionEffect::Stay { .. } => present.is_some_and(|present| !present.always.is_empty()),
                TransitionEffect::Refuse { .. } => false,
            })
        }
        Cause::Deadline { .. } => {
            let timeout = present.and_then(|present| present.timeout.as_ref());
            timeout.is_some_and(|timeout| {
                let exceeded = timeout.limit.as_ref().map(|limit| &limit.exceeded);
                can_invoke_on_entry(&timeout.target) || exceeded.is_some_and(can_invoke_on_entry)
            })
        }
        Cause::Force { to, .. } => can_invoke_on_entry(to),
        Cause::Retry { .. } => true,
        // These only start and stop the clock of a state.
        Cause::Began { .. } | Cause::Suspend { .. } => false,
    }
}

/// Returns the questions to ask models before the decision on `cause`, each once: those of all guards of the event, in
/// any state. So history has the answers even if the state does not handle the event, and replays under another
/// definition can use them.
pub fn questions<'d>(
    definition: &'d Definition,
    cause: &'d Cause,
) -> impl Iterator<Item = &'d ModelQuestion> {
    let asked = match cause {
        Cause::Event { name, args, .. } => definition.questions.get(name).map(|asked| (asked, args)),
        Cause::Created { .. }
        | Cause::Began { .. }
        | Cause::Suspend { .. }
        | Cause::Retry { .. }
        | Cause::Deadline { .. }
        | Cause::Force { .. } => None,
    };
    asked
        .into_iter()
        .flat_map(|(asked, args)| asked.iter().filter(|question| args.contains_key(&question.argument)))
}

/// Creates an instance without links: enters the initial state, as visit 1.
#[must_use]
pub fn create(
    definition: &Definition,
    name: &str,
    facts: Map<String, Value>,
    now: DateTime<Utc>,
) -> Decision {
    create_linked(definition, name, Links::new(), facts, now)
}

/// Creates an instance with `links`: enters the initial state, as visit 1.
#[must_use]
pub fn create_linked(
    definition: &Definition,
    name: &str,
    links: Links,
    facts: Map<String, Value>,
    now: DateTime<Utc>,
) -> Decision {
    let uncreated = Instance {
        machine: definition.machine.clone(),
        name: name.to_owned(),
        state: definition.initial.clone(),
        visit: Visit(0),
        since: now,
        deadline_at: None,
        remaining: None,
        counters: BTreeMap::new(),
        data: Map::new(),
        links: Links::new(),
    };
    decide(definition, &uncreated, &Stimulus { facts, ..Stimulus::new(Cause::Created { links }) }, now)
}

fn follow(
    definition: &Definition,
    cause: &Cause,
    step: &mut DecisionInProgress<'_>,
) -> Result<OutcomeWithEffects, IgnoreReason> {
    let missing = |state: &StateName| IgnoreReason::NoState { state: state.clone() };
    let instance = step.instance();
    let state = definition.states.get(&instance.state).ok_or_else(|| missing(&instance.state));
    match cause {
        // Visit 0 is that of an instance before its creation.
        Cause::Created { links } => match instance.visit {
            Visit(0) => {
                step.link(links);
                Ok(step.enter(&definition.initial))
            }
            current_visit => Err(IgnoreReason::Stale { stated_visit: Visit(0), current_visit }),
        },
        Cause::Event { name, source, visit, .. } => {
            allow(definition, step.args(), name, source, *visit)?;
            visit.map_or(Ok(()), |visit| fence(visit, instance.visit))?;
            event(state?, name, step)
        }
        Cause::Began { visit } => {
            fence(*visit, instance.visit)?;
            step.start_or_resume_timeout(state?)
        }
        Cause::Suspend { visit } => {
            fence(*visit, instance.visit)?;
            Ok(step.suspend(state?))
        }
        Cause::Retry { visit, action } => {
            fence(*visit, instance.visit)?;
            step.retry(state?, action)
        }
        Cause::Deadline { visit } => {
            fence(*visit, instance.visit)?;
            deadline(state?, step)
        }
        Cause::Force { expected, to, .. } => {
            if *expected != instance.state {
                let actual = instance.state.clone();
                return Err(IgnoreReason::Unexpected { actual, expected: expected.clone() });
            }
            if !definition.states.contains_key(to) {
                return Err(missing(to));
            }
            Ok(step.enter(to))
        }
    }
}

/// Refuses another visit than the current one.
fn fence(stated_visit: Visit, current_visit: Visit) -> Result<(), IgnoreReason> {
    match stated_visit.cmp(&current_visit) {
        std::cmp::Ordering::Less => Err(IgnoreReason::Stale { stated_visit, current_visit }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(IgnoreReason::Future { stated_visit, current_visit }),
    }
}

/// Refuses an event that `source` may not send, or that lacks required arguments.
fn allow(
    definition: &Definition,
    args: &Map<String, Value>,
    name: &EventName,
    source: &EventSource,
    visit: Option<Visit>,
) -> Result<(), IgnoreReason> {
    let event = definition
        .events
        .get(name)
        .filter(|event| event.from.iter().any(|sender| source.accepts_sender(sender)));
    match (event, source, visit) {
        // The outcome of an action must carry its visit.
        (None, _, _) | (Some(_), EventSource::Action, None) => {
            Err(IgnoreReason::NotAllowed { event: name.clone() })
        }
        (Some(event), _, _) => match event.args.iter().find(|argument| !args.contains_key(*argument)) {
            Some(argument) => {
                Err(IgnoreReason::MissingArgument { event: name.clone(), argument: argument.clone() })
            }
            None => Ok(()),
        },
    }
}

fn event(
    state: &State,
    name: &EventName,
    step: &mut DecisionInProgress<'_>,
) -> Result<OutcomeWithEffects, IgnoreReason> {
    let transitions = state.on.get(name);
    let Some(transition) = transitions.into_iter().flatten().find(|transition| step.holds(transition)) else {
        let (current, event) = (step.instance().state.clone(), name.clone());
        return Err(match transitions {
            _ if state.left_to_deadline.contains(name) => {
                IgnoreReason::LeftToDeadline { state: current, event }
            }
            Some(_) => IgnoreReason::NoGuardHolds { state: current, event },
            None => IgnoreReason::NotHandled { state: current, event },
        });
    };
    match &transition.effect {
        TransitionEffect::Refuse { reason } => Err(IgnoreReason::Refused { reason: reason.clone() }),
        TransitionEffect::Stay { operations } => {
            step.apply(operations);
            Ok(step.stay(state))
        }
        TransitionEffect::Move { operations, target } => {
            step.apply(operations);
            Ok(step.enter(target))
        }
    }
}

fn deadline(state: &State, step: &mut DecisionInProgress<'_>) -> Result<OutcomeWithEffects, IgnoreReason> {
    let is_due = step.instance().deadline_at.is_some_and(|at| at <= step.now());
    if !is_due {
        return Err(IgnoreReason::NotDue);
    }
    // The deadline was set under another definition, in which the state had a time limit.
    let Some(timeout) = &state.timeout else { return Ok(step.disarm()) };
    let target = match &timeout.limit {
        Some(limit) if step.count(&limit.counter) > i64::from(limit.max_count) => &limit.exceeded,
        Some(_) | None => &timeout.target,
    };
    Ok(if timeout.keeps_actions && *target == step.instance().state {
        step.keep(target)
    } else {
        step.enter(target)
    })
}

#[cfg(test)]
mod board_tests;
#[cfg(test)]
pub(super) mod property_tests;

//! What follows when something happens to an instance.
//!
//! An event is looked at in this order: may this sender send it, does it speak of this visit, does the state take it,
//! which of its transitions holds. Whatever enters a state does so in [`DecisionInProgress::enter`].

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
/// Pure: equal arguments give equal results, and nothing else is read or changed. What is ignored leaves the instance
/// as it is.
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

/// [`decide`], for whoever has no more use for the instance as it was: it becomes what it is afterwards.
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
        | Cause::Deadline { .. }
        | Cause::Force { .. } => &none,
    };
    let mut step = DecisionInProgress::new(definition, instance, stimulus, args, now);
    // What is ignored is so before anything was changed.
    match follow(definition, &stimulus.cause, &mut step) {
        Ok((outcome, effects)) => (outcome, step.finish(effects)),
        Err(ignored) => (Outcome::Ignored(ignored), Vec::new()),
    }
}

/// Whether a guard that may be asked when `cause` happens in `state` reads facts.
///
/// Where none does, facts need not go into the stimulus, nor into history.
#[must_use]
pub fn reads_facts(definition: &Definition, state: &StateName, cause: &Cause) -> bool {
    let on_event = match cause {
        Cause::Event { name, .. } => definition.states.get(state).and_then(|state| state.on.get(name)),
        Cause::Created { .. }
        | Cause::Began { .. }
        | Cause::Suspend { .. }
        | Cause::Deadline { .. }
        | Cause::Force { .. } => None,
    };
    definition.reads_facts_on_entry || on_event.into_iter().flatten().any(Transition::reads_facts)
}

/// Whether deciding on `cause` in `state` may invoke actions, in the state that it leads to or in one that is passed through.
#[must_use]
pub fn may_invoke(definition: &Definition, state: &StateName, cause: &Cause) -> bool {
    fn targets(transitions: &[Transition]) -> impl Iterator<Item = &StateName> {
        transitions.iter().filter_map(|transition| match &transition.effect {
            TransitionEffect::Move { target, .. } => Some(target),
            TransitionEffect::Stay { .. } | TransitionEffect::Refuse { .. } => None,
        })
    }
    let present = definition.states.get(state);
    let mut reached: Vec<&StateName> = match cause {
        Cause::Event { name, .. } => {
            targets(present.and_then(|state| state.on.get(name)).map(Vec::as_slice).unwrap_or_default())
                .collect()
        }
        Cause::Deadline { .. } => {
            let timeout = present.and_then(|state| state.timeout.as_ref());
            let exceeded = timeout.and_then(|timeout| timeout.limit.as_ref()).map(|limit| &limit.exceeded);
            timeout.map(|timeout| &timeout.target).into_iter().chain(exceeded).collect()
        }
        Cause::Force { to, .. } => vec![to],
        Cause::Created { .. } => vec![&definition.initial],
        Cause::Began { .. } | Cause::Suspend { .. } => Vec::new(),
    };
    let mut next = 0;
    while let Some(name) = reached.get(next) {
        next += 1;
        let Some(state) = definition.states.get(*name) else { continue };
        if !state.invoke.is_empty() {
            return true;
        }
        for target in targets(&state.always) {
            if !reached.contains(&target) {
                reached.push(target);
            }
        }
    }
    false
}

/// What has to be asked before anything is decided about `cause`, each question once: what conditions ask when it comes,
/// in whichever state. So history has the answers also where the state does not take the event, and where somebody wants
/// to know what another definition would have made of it.
pub fn questions<'d>(
    definition: &'d Definition,
    cause: &'d Cause,
) -> impl Iterator<Item = &'d ModelQuestion> {
    let asked = match cause {
        Cause::Event { name, args, .. } => definition.questions.get(name).map(|asked| (asked, args)),
        Cause::Created { .. }
        | Cause::Began { .. }
        | Cause::Suspend { .. }
        | Cause::Deadline { .. }
        | Cause::Force { .. } => None,
    };
    asked
        .into_iter()
        .flat_map(|(asked, args)| asked.iter().filter(|question| args.contains_key(&question.argument)))
}

/// Brings an instance to be, without links: the initial state is entered, as visit 1.
#[must_use]
pub fn create(
    definition: &Definition,
    name: &str,
    facts: Map<String, Value>,
    now: DateTime<Utc>,
) -> Decision {
    create_linked(definition, name, Links::new(), facts, now)
}

/// Brings an instance to be that has `links` from the beginning: the initial state is entered, as visit 1.
#[must_use]
pub fn create_linked(
    definition: &Definition,
    name: &str,
    links: Links,
    facts: Map<String, Value>,
    now: DateTime<Utc>,
) -> Decision {
    let unborn = Instance {
        machine: definition.machine.clone(),
        name: name.to_owned(),
        state: definition.initial.clone(),
        visit: Visit(0),
        entered_at: now,
        since: now,
        deadline_at: None,
        remaining: None,
        counters: BTreeMap::new(),
        data: Map::new(),
        links: Links::new(),
    };
    decide(definition, &unborn, &Stimulus { facts, ..Stimulus::new(Cause::Created { links }) }, now)
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
        // Visit 0 is that of an instance that is yet to be.
        Cause::Created { links } => match instance.visit {
            Visit(0) => {
                step.link(links);
                Ok(step.enter(&definition.initial))
            }
            present => Err(IgnoreReason::Stale { spoken: Visit(0), present }),
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
        Cause::Deadline { visit } => {
            fence(*visit, instance.visit)?;
            deadline(state?, step)
        }
        Cause::Force { expected, to, .. } => {
            if *expected != instance.state {
                let present = instance.state.clone();
                return Err(IgnoreReason::Unexpected { present, expected: expected.clone() });
            }
            if !definition.states.contains_key(to) {
                return Err(missing(to));
            }
            Ok(step.enter(to))
        }
    }
}

/// Lets through what speaks of the present visit.
fn fence(spoken: Visit, present: Visit) -> Result<(), IgnoreReason> {
    match spoken.cmp(&present) {
        std::cmp::Ordering::Less => Err(IgnoreReason::Stale { spoken, present }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(IgnoreReason::Future { spoken, present }),
    }
}

/// Lets through what `source` may send, with all arguments that it must bring.
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
        // An action belongs to a visit: what does not say which is none of ours.
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
        let (present, event) = (step.instance().state.clone(), name.clone());
        return Err(match transitions {
            _ if state.left_to_deadline.contains(name) => {
                IgnoreReason::LeftToDeadline { state: present, event }
            }
            Some(_) => IgnoreReason::NoGuardHolds { state: present, event },
            None => IgnoreReason::NotHandled { state: present, event },
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
    // It was armed under another definition, which gave the state a time limit.
    let Some(timeout) = &state.timeout else { return Ok(step.disarm()) };
    let target = match &timeout.limit {
        Some(limit) if step.count(&limit.counter) > i64::from(limit.most) => &limit.exceeded,
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

//! What can happen next to an instance, as data.

use chrono::{DateTime, Utc};
use machine::{
    Definition, Event, EventName, Instance, Sender, StateKind, StateName, Timeout, TimeoutDue, Transition,
    TransitionEffect,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::requests::{PossibleRequest, requests};
use crate::targets::targets;

/// What can happen next to an instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The kind of the state.
    pub kind: StateKind,
    /// The state's description in the definition, or empty.
    pub about: String,
    /// The events that the state accepts from senders other than operators.
    pub awaited_events: Vec<AwaitedEvent>,
    /// What happens when the deadline passes.
    pub on_deadline: Option<TimeoutConsequence>,
    /// What an operator can request.
    pub requests: Vec<PossibleRequest>,
}

/// An event that a state accepts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AwaitedEvent {
    /// The event.
    pub event: EventName,
    /// Its permitted senders.
    pub senders: Vec<Sender>,
    /// The states that it can lead to; the present one where it stays.
    pub targets: Vec<StateName>,
    /// The event's description in the definition, or empty.
    pub about: String,
}

/// What happens when the state's deadline passes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeoutConsequence {
    /// The state that the instance moves to.
    pub to: StateName,
    /// How often the deadline has passed so far, where that is counted.
    pub retries: Option<i64>,
    /// How often it may pass.
    pub max_retries: Option<u32>,
    /// How often it may still pass before it leads to `exceeded_to`.
    pub retries_left: Option<i64>,
    /// The state that it leads to once it has passed `max_retries` times.
    pub exceeded_to: Option<StateName>,
    /// The time limit in words: `60s after its actions begin`.
    pub time_limit: String,
}

/// Describes what can happen next to `instance`; `facts` are those that guards read.
#[must_use]
pub fn explain(
    definition: &Definition,
    instance: &Instance,
    facts: Option<&Map<String, Value>>,
    now: DateTime<Utc>,
) -> Explanation {
    let state = definition.states.get(&instance.state);
    Explanation {
        kind: state.map_or(StateKind::Working, |state| state.kind),
        about: state.map(|state| state.about.clone()).unwrap_or_default(),
        awaited_events: accepted_events(definition, instance),
        on_deadline: on_deadline(definition, instance),
        requests: requests(definition, instance, facts, now),
    }
}

/// Lists the events that the state of `instance` accepts from senders other than operators.
pub(crate) fn accepted_events(definition: &Definition, instance: &Instance) -> Vec<AwaitedEvent> {
    let Some(state) = definition.states.get(&instance.state) else { return Vec::new() };
    let accepted = |(name, transitions): (&EventName, &Vec<Transition>)| {
        let event = definition.events.get(name)?;
        if is_only_noted(name, event, transitions) {
            return None;
        }
        event.from.iter().any(|sender| *sender != Sender::Operator).then(|| AwaitedEvent {
            event: name.clone(),
            senders: event.from.iter().cloned().collect(),
            targets: targets(transitions, &instance.state),
            about: event.about.clone(),
        })
    };
    state.on.iter().filter_map(accepted).collect()
}

/// Whether this is the failure of an action that the state records and leaves to its deadline: it is not awaited.
fn is_only_noted(name: &EventName, event: &Event, transitions: &[Transition]) -> bool {
    let is_failure = event.from.iter().eq(&[Sender::Action]) && name.as_str().ends_with("-failed");
    let stays = |transition: &Transition| matches!(transition.effect, TransitionEffect::Stay { .. });
    is_failure && transitions.iter().all(stays)
}

/// Describes what happens when the deadline of `instance` passes, where its state has a timeout.
pub(crate) fn on_deadline(definition: &Definition, instance: &Instance) -> Option<TimeoutConsequence> {
    let state = definition.states.get(&instance.state)?;
    let timeout = state.timeout.as_ref()?;
    Some(timeout_consequence(definition, timeout, instance, !state.invoke.is_empty()))
}

fn timeout_consequence(
    definition: &Definition,
    timeout: &Timeout,
    instance: &Instance,
    invokes: bool,
) -> TimeoutConsequence {
    let counters = definition.effective_counters(&instance.counters);
    let limit = timeout.limit.as_ref();
    let retries = limit.map(|limit| counters.get(&limit.counter).copied().unwrap_or(0));
    let retries_left =
        limit.zip(retries).map(|(limit, retries)| (i64::from(limit.max_count) - retries).max(0));
    let exceeded_to = limit.map(|limit| limit.exceeded.clone());
    TimeoutConsequence {
        to: exceeded_to.clone().filter(|_| retries_left == Some(0)).unwrap_or_else(|| timeout.target.clone()),
        retries,
        max_retries: limit.map(|limit| limit.max_count),
        retries_left,
        exceeded_to,
        time_limit: match timeout.due {
            TimeoutDue::After(span) => {
                format!(
                    "{} after {}",
                    formatting::duration(span),
                    if invokes { "its actions begin" } else { "entry" }
                )
            }
            TimeoutDue::At(at) => format!("at {}", at.format("%Y-%m-%d %H:%M:%S UTC")),
        },
    }
}

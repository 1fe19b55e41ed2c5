//! What an instance waits for, in words and in parts: the answer to "why does it stand still?".

use chrono::{DateTime, Utc};
use machine::{
    Definition, Event, EventName, Instance, Sender, StateKind, StateName, Timeout, TimeoutDue, Transition,
    TransitionEffect,
};
use serde::Serialize;

use crate::targets::targets;

/// What may happen next to an instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// What being in the state means.
    pub kind: StateKind,
    /// What the definition says of the state, or empty.
    pub about: String,
    /// The events that the state takes from all but operators.
    pub waits_for: Vec<AwaitedEvent>,
    /// When the waiting ends, once its time runs.
    pub until: Option<DateTime<Utc>>,
    /// What happens then.
    pub then: Option<TimeoutConsequence>,
    /// What an operator may ask for now.
    pub may: Vec<AwaitedEvent>,
}

/// An event that a state takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AwaitedEvent {
    /// The event.
    pub event: EventName,
    /// Who may send it.
    pub from: Vec<Sender>,
    /// The states that it may lead to; the present one where it stays.
    pub to: Vec<StateName>,
    /// What the definition says of the event, or empty.
    pub about: String,
}

/// What happens when the state's time limit passes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeoutConsequence {
    /// The state that the instance moves to.
    pub to: StateName,
    /// How often the limit has passed so far, where that is counted.
    pub count: Option<i64>,
    /// How often it may pass.
    pub most: Option<u32>,
    /// How many tries are left: how often it may still pass before it leads elsewhere.
    pub left: Option<i64>,
    /// Where it leads when it passes more often.
    pub exceeded: Option<StateName>,
    /// The limit in words: `60s after its actions begin`.
    pub limit: String,
}

/// Says what may happen next to `instance`.
#[must_use]
pub fn explain(definition: &Definition, instance: &Instance) -> Explanation {
    let Some(state) = definition.states.get(&instance.state) else {
        return Explanation {
            kind: StateKind::Working,
            about: String::new(),
            waits_for: Vec::new(),
            until: instance.deadline_at,
            then: None,
            may: Vec::new(),
        };
    };
    let awaited = |is_wanted: fn(&Sender) -> bool| {
        let takes = |name: &EventName, transitions: &[Transition]| {
            let event = definition.events.get(name)?;
            if is_only_noted(name, event, transitions) {
                return None;
            }
            event.from.iter().any(is_wanted).then(|| AwaitedEvent {
                event: name.clone(),
                from: event.from.iter().cloned().collect(),
                to: targets(transitions, &instance.state),
                about: event.about.clone(),
            })
        };
        state.on.iter().filter_map(|(name, transitions)| takes(name, transitions)).collect()
    };
    Explanation {
        kind: state.kind,
        about: state.about.clone(),
        waits_for: awaited(|sender| *sender != Sender::Operator),
        until: instance.deadline_at,
        then: state
            .timeout
            .as_ref()
            .map(|timeout| timeout_consequence(definition, timeout, instance, !state.invoke.is_empty())),
        may: awaited(|sender| *sender == Sender::Operator),
    }
}

/// Whether this is the failure of an action that the state notes and leaves to its deadline: nobody waits for it.
fn is_only_noted(name: &EventName, event: &Event, transitions: &[Transition]) -> bool {
    let is_failure = event.from.iter().eq(&[Sender::Action]) && name.as_str().ends_with("-failed");
    let stays = |transition: &Transition| matches!(transition.effect, TransitionEffect::Stay { .. });
    is_failure && transitions.iter().all(stays)
}

fn timeout_consequence(
    definition: &Definition,
    timeout: &Timeout,
    instance: &Instance,
    invokes: bool,
) -> TimeoutConsequence {
    let counts = definition.effective_counters(&instance.counters);
    let count = timeout.limit.as_ref().map(|limit| counts.get(&limit.counter).copied().unwrap_or(0));
    let left =
        timeout.limit.as_ref().zip(count).map(|(limit, count)| (i64::from(limit.max_count) - count).max(0));
    let exceeded = timeout.limit.as_ref().map(|limit| limit.exceeded.clone());
    TimeoutConsequence {
        to: exceeded.clone().filter(|_| left == Some(0)).unwrap_or_else(|| timeout.target.clone()),
        count,
        most: timeout.limit.as_ref().map(|limit| limit.max_count),
        left,
        exceeded,
        limit: match timeout.due {
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

//! The events that an instance waits for.

use machine::{Definition, EventName, Instance, Sender, StateKind, StateName};

use crate::explanation::{AwaitedEvent, explain};
use crate::pending_action::PendingAction;

/// The events that can still come: the end of an action that is over cannot.
#[must_use]
pub fn awaited_events(
    definition: &Definition,
    instance: &Instance,
    doing: &[PendingAction],
) -> Vec<AwaitedEvent> {
    let mut awaited = explain(definition, instance).waits_for;
    awaited.retain(|awaited| awaited.from != [Sender::Action] || ends_one_of(&awaited.event, doing));
    // What is hoped for comes first.
    awaited.sort_by_key(|awaited| awaited.to.iter().any(|to| is_failure(definition, to)));
    awaited
}

fn ends_one_of(event: &EventName, doing: &[PendingAction]) -> bool {
    let name = event.as_str();
    let action = name.strip_suffix("-ok").or_else(|| name.strip_suffix("-failed"));
    doing.iter().any(|doing| !doing.is_leftover && Some(doing.action.as_str()) == action)
}

fn is_failure(definition: &Definition, state: &StateName) -> bool {
    definition.states.get(state).is_some_and(|state| state.kind == StateKind::Failed)
}

//! The events that an instance waits for.

use machine::{Definition, EventName, Instance, Sender, StateKind, StateName};

use crate::explanation::{AwaitedEvent, accepted_events};
use crate::pending_action::PendingAction;

/// Lists the events that can still arrive: the event of an action that has ended is left out. Events that do not lead to a
/// failed state come first.
#[must_use]
pub fn awaited_events(
    definition: &Definition,
    instance: &Instance,
    actions: &[PendingAction],
) -> Vec<AwaitedEvent> {
    let mut awaited = accepted_events(definition, instance);
    awaited.retain(|awaited| awaited.senders != [Sender::Action] || is_end_of_any(&awaited.event, actions));
    awaited.sort_by_key(|awaited| awaited.targets.iter().any(|target| is_failed(definition, target)));
    awaited
}

fn is_end_of_any(event: &EventName, actions: &[PendingAction]) -> bool {
    let name = event.as_str();
    let action = name.strip_suffix("-ok").or_else(|| name.strip_suffix("-failed"));
    actions.iter().any(|pending| !pending.is_leftover && Some(pending.action.as_str()) == action)
}

fn is_failed(definition: &Definition, state: &StateName) -> bool {
    definition.states.get(state).is_some_and(|state| state.kind == StateKind::Failed)
}

//! The events that actions end in: `NAME-ok` and `NAME-failed`.

use crate::definition::ActionInvocation;
use crate::names::EventName;
use crate::vocabulary::ActionCatalogue;

/// The action of `actions` that ends in the event `event`.
pub(super) fn known_ended_action<'a>(event: &'a str, actions: &dyn ActionCatalogue) -> Option<&'a str> {
    let action = event.strip_suffix("-ok").or_else(|| event.strip_suffix("-failed"))?;
    actions.contains(action).then_some(action)
}

/// The action that ends in `event`, if it is the end of one.
pub(super) fn ended_action(event: &EventName) -> Option<&str> {
    event.as_str().strip_suffix("-ok").or_else(|| event.as_str().strip_suffix("-failed"))
}

/// Whether one of these actions ends in `event`.
pub(super) fn invokes(actions: &[ActionInvocation], event: &EventName) -> bool {
    ended_action(event).is_some_and(|action| actions.iter().any(|invoke| invoke.action.as_str() == action))
}

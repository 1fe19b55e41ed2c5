//! The outcome events of actions: `NAME-ok` and `NAME-failed`.

use crate::definition::ActionInvocation;
use crate::names::EventName;
use crate::vocabulary::ActionCatalogue;

/// Returns the action in `actions` that `event` is an outcome of.
pub(super) fn known_ended_action<'a>(event: &'a str, actions: &dyn ActionCatalogue) -> Option<&'a str> {
    let action = event.strip_suffix("-ok").or_else(|| event.strip_suffix("-failed"))?;
    actions.contains(action).then_some(action)
}

/// Returns the action that `event` is an outcome of, if it has the form of one.
pub(super) fn ended_action(event: &EventName) -> Option<&str> {
    event.as_str().strip_suffix("-ok").or_else(|| event.as_str().strip_suffix("-failed"))
}

/// Whether `event` is an outcome of one of these actions.
pub(super) fn invokes(actions: &[ActionInvocation], event: &EventName) -> bool {
    ended_action(event).is_some_and(|action| actions.iter().any(|invoke| invoke.action.as_str() == action))
}

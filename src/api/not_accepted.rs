//! The problem of an event that the present state does not accept.

use axum::http::StatusCode;

use super::problem::Problem;
use crate::machine::{Definition, EventName, IgnoreReason, Instance, Sender, StateName, suggestion};

/// The problem of an event that `instance` does not accept now, with the events that it does.
pub(super) fn not_accepted(definition: &Definition, instance: &Instance, reason: &IgnoreReason) -> Problem {
    let accepted = definition.accepted_events(instance.state.as_str(), &Sender::Operator);
    let problem = match reason {
        IgnoreReason::NoState { state } => no_state(definition, state),
        IgnoreReason::Unexpected { expected, .. } if !definition.states.contains_key(expected) => {
            no_state(definition, expected)
        }
        IgnoreReason::Unexpected { .. }
        | IgnoreReason::NoGuardHolds { .. }
        | IgnoreReason::Stale { .. }
        | IgnoreReason::Future { .. }
        | IgnoreReason::NotDue => Problem::new(StatusCode::CONFLICT, "not_accepted", reason.to_string()),
        IgnoreReason::NotHandled { .. }
        | IgnoreReason::LeftToDeadline { .. }
        | IgnoreReason::MissingArgument { .. }
        | IgnoreReason::Refused { .. }
        | IgnoreReason::NotAllowed { .. } => {
            let detail = if accepted.is_empty() {
                format!("{reason}, nor for any other request; only a forced move leaves it")
            } else {
                format!("{reason}; now it takes {}", list(&accepted))
            };
            Problem::new(StatusCode::CONFLICT, "not_accepted", detail)
        }
    };
    problem.with("state", &instance.state).with("accepted", accepted)
}

/// The problem that the definition has no such state; it suggests a similar one.
fn no_state(definition: &Definition, state: &StateName) -> Problem {
    let suggestion = suggestion(state.as_str(), definition.states.keys().map(StateName::as_str));
    let detail = format!("no state {state} in this machine{suggestion}");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_state", detail)
        .with("states", definition.states.keys().collect::<Vec<_>>())
}

fn list(names: &[&EventName]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

//! The problem that an instance does not accept now what was asked for.

use axum::http::StatusCode;

use super::problem::Problem;
use crate::machine::{Definition, EventName, IgnoreReason, Instance, Sender};

/// What `instance` does not take now, whoever asks, and what it does take.
pub(super) fn not_accepted(definition: &Definition, instance: &Instance, why: &IgnoreReason) -> Problem {
    let accepted = definition.accepted_events(instance.state.as_str(), &Sender::Operator);
    let problem = match why {
        IgnoreReason::NoState { .. } => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_state", why.to_string())
                .with("states", definition.states.keys().collect::<Vec<_>>())
        }
        IgnoreReason::Unexpected { .. }
        | IgnoreReason::NoGuardHolds { .. }
        | IgnoreReason::Stale { .. }
        | IgnoreReason::Future { .. }
        | IgnoreReason::NotDue => Problem::new(StatusCode::CONFLICT, "not_accepted", why.to_string()),
        IgnoreReason::NotHandled { .. }
        | IgnoreReason::LeftToDeadline { .. }
        | IgnoreReason::MissingArgument { .. }
        | IgnoreReason::Refused { .. }
        | IgnoreReason::NotAllowed { .. } => {
            let detail = if accepted.is_empty() {
                format!("{why}, nor for any other request; only a forced move leaves it")
            } else {
                format!("{why}; now it takes {}", list(&accepted))
            };
            Problem::new(StatusCode::CONFLICT, "not_accepted", detail)
        }
    };
    problem.with("state", &instance.state).with("accepted", accepted)
}

fn list(names: &[&EventName]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

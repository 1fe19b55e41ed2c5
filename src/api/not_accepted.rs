//! The problem that an instance does not accept now what was asked for.

use axum::http::StatusCode;

use super::problem::Problem;
use crate::machine::{Definition, EventName, Ignored, Instance, Sender};

/// What `instance` does not take now, whoever asks, and what it does take.
pub(super) fn not_accepted(definition: &Definition, instance: &Instance, why: &Ignored) -> Problem {
    let accepted = definition.accepted(instance.state.as_str(), &Sender::Operator);
    let problem = match why {
        Ignored::NoState { .. } => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_state", why.to_string())
                .with("states", definition.states.keys().collect::<Vec<_>>())
        }
        Ignored::Unexpected { .. }
        | Ignored::NoGuardHolds { .. }
        | Ignored::Stale { .. }
        | Ignored::Future { .. }
        | Ignored::NotDue => Problem::new(StatusCode::CONFLICT, "not_accepted", why.to_string()),
        Ignored::NotHandled { .. }
        | Ignored::LeftToDeadline { .. }
        | Ignored::MissingArgument { .. }
        | Ignored::Refused { .. }
        | Ignored::NotAllowed { .. } => {
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

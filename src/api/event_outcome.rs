//! The outcome of an event or a request, as JSON.

use serde::Serialize;

use crate::engine::CommittedSubmission;
use crate::machine::{Outcome, StateName, Visit};

/// The outcome of an event or a request.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum EventOutcome {
    /// A state was entered.
    Moved {
        /// The state left.
        from: StateName,
        /// The state entered.
        to: StateName,
        /// The visit that began.
        visit: Visit,
    },
    /// The event was recorded, and the state did not change.
    Stayed {
        /// Its state.
        state: StateName,
        /// Its visit.
        visit: Visit,
    },
    /// Nothing changed: the event was repeated, late or stale.
    Ignored {
        /// Its state.
        state: StateName,
        /// Its visit.
        visit: Visit,
        /// Why.
        reason: String,
    },
}

impl From<CommittedSubmission> for EventOutcome {
    fn from(committed: CommittedSubmission) -> Self {
        let (state, visit) = (committed.instance.state.clone(), committed.instance.visit);
        match committed.outcome {
            Outcome::Moved { from, to } => Self::Moved { from, to, visit },
            Outcome::Stayed => Self::Stayed { state, visit },
            Outcome::Ignored(reason) => Self::Ignored { state, visit, reason: reason.to_string() },
        }
    }
}

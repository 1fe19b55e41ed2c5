//! The request for a forced move.

use serde::Deserialize;

use super::problem::Problem;
use crate::machine::{Cause, StateName};

/// The body of a request for a forced move.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewForcedMove {
    /// The state that the operator believes the instance to be in.
    from: StateName,
    /// The state to enter.
    to: StateName,
    /// Why.
    reason: String,
}

/// Returns the forced move, and the reason for its history.
pub(super) fn forced(
    NewForcedMove { from, to, reason }: NewForcedMove,
) -> Result<(Cause, Option<String>), Problem> {
    if reason.trim().is_empty() {
        return Err(Problem::invalid("`reason` must say why the move is forced"));
    }
    let history_reason = Some(format!("forced: {reason}"));
    Ok((Cause::Force { expected: from, to, reason }, history_reason))
}

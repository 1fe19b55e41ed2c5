//! A forced move, as operators ask for it.

use serde::Deserialize;

use super::problem::Problem;
use crate::machine::{Cause, StateName};

/// A forced move, as operators ask for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewForcedMove {
    /// The state that the board is believed to be in.
    from: StateName,
    /// The state to enter.
    to: StateName,
    /// Why.
    reason: String,
}

/// A forced move, and what history says of it.
pub(super) fn forced(
    NewForcedMove { from, to, reason }: NewForcedMove,
) -> Result<(Cause, Option<String>), Problem> {
    if reason.trim().is_empty() {
        return Err(Problem::invalid("`reason` must say why the move is forced"));
    }
    let remark = Some(format!("forced: {reason}"));
    Ok((Cause::Force { expected: from, to, reason }, remark))
}

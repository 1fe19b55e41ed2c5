//! The board of a path.

use super::context::ApiContext;
use super::problem::Problem;
use crate::boards::Board;
use crate::store::instances::InstanceKey;

/// Names the board of a path.
pub(super) fn device_target(api: &ApiContext, name: &str) -> Result<InstanceKey, Problem> {
    if name.contains('\0') {
        return Err(Problem::no_device(name));
    }
    Ok(InstanceKey::Name(api.machine.clone(), name.to_owned()))
}

/// Reads the board of a path.
pub(super) async fn find_board(api: &ApiContext, name: &str) -> Result<Board, Problem> {
    api.boards.find(name).await?.ok_or_else(|| Problem::no_device(name))
}

//! The board of a path.

use super::context::Api;
use super::problem::Problem;
use crate::boards::Board;
use crate::store::instances::Target;

/// Names the board of a path.
pub(super) fn target(api: &Api, name: &str) -> Result<Target, Problem> {
    if name.contains('\0') {
        return Err(Problem::no_device(name));
    }
    Ok(Target::Name(api.machine.clone(), name.to_owned()))
}

/// Reads the board of a path.
pub(super) async fn find(api: &Api, name: &str) -> Result<Board, Problem> {
    api.boards.find(name).await?.ok_or_else(|| Problem::no_device(name))
}

//! What the program's faces bring: the one place of the command line that puts them together.

use std::path::Path;
use std::sync::Arc;

use crate::actions::{ActionRegistry, CommandPolicy};
use crate::boards::{self, BoardFace};
use crate::engine::Faces;
use crate::machine::Vocabulary;

/// The kinds of action that a server has whose boards boot from `boot_root`.
pub(super) fn action_kinds(boot_root: &Path, commands: CommandPolicy) -> ActionRegistry {
    boards::action_kinds(boot_root, commands)
}

/// What definitions may name.
pub(super) fn vocabulary() -> &'static Vocabulary {
    boards::vocabulary()
}

/// What the engine is told of what instances stand for.
pub(super) fn faces(boards: Arc<BoardFace>) -> Faces {
    Faces::new(vec![boards])
}

//! The faces of the program, and what definitions may use of them.

use std::path::Path;
use std::sync::Arc;

use crate::actions::{ActionRegistry, NotifyPolicy, PowerSettings};
use crate::boards::{self, BoardFace};
use crate::engine::Faces;
use crate::machine::Vocabulary;
use crate::outlets::OutletFace;

/// The kinds of action of a server whose boards boot from `boot_root`.
pub(super) fn action_kinds(
    boot_root: &Path,
    notify: NotifyPolicy,
    settings: &PowerSettings,
) -> ActionRegistry {
    boards::action_kinds(boot_root, notify, settings)
}

/// The names that definitions may use.
pub(super) fn vocabulary() -> &'static Vocabulary {
    boards::vocabulary()
}

/// The faces of the engine.
pub(super) fn faces(boards: Arc<BoardFace>) -> Faces {
    Faces::new(vec![boards, Arc::new(OutletFace)])
}

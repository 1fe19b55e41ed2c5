//! The name of this face.

/// The name that identifies the facts of boards.
pub(super) const FACE: &str = "boards";

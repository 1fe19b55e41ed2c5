//! The name of this face.

/// By which the facts of boards are told from those of other faces.
pub(super) const FACE: &str = "boards";

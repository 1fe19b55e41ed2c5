//! Refusals of faces.

use serde_json::{Map, Value};

/// A refusal of a face; nothing was written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{detail}")]
pub struct FaceRefusal {
    /// The stable problem code.
    pub code: &'static str,
    /// The reason in words, with what would help.
    pub detail: String,
    /// Further members of the problem, by name.
    pub more: Map<String, Value>,
}

impl FaceRefusal {
    /// A refusal without further members.
    #[must_use]
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), more: Map::new() }
    }
}

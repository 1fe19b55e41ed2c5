//! Why a face does not let something be done.

use serde_json::{Map, Value};

/// Why something cannot be done as things stand; nothing was written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{detail}")]
pub struct FaceRefusal {
    /// A fixed word that clients may rely on.
    pub code: &'static str,
    /// In words for people, with what would help.
    pub detail: String,
    /// More for programs, by name.
    pub more: Map<String, Value>,
}

impl FaceRefusal {
    /// A refusal about which there is nothing more to say.
    #[must_use]
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), more: Map::new() }
    }
}

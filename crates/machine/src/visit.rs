//! The fence between what is of now and what is of before.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Numbers the entries of states: it grows by one at every entry, re-entries included.
///
/// It is the fence: what carries an earlier visit than the instance's own is stale and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Visit(pub i64);

impl Visit {
    /// The visit after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! Visit numbers, which fence off stale events.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a state entry: it grows by one with every entry, including re-entries.
///
/// It is a fencing number: a message with an earlier visit than the instance's is stale and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Visit(pub i64);

impl Visit {
    /// Returns the next visit.
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

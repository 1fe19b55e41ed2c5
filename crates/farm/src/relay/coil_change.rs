//! Writes to coils, and their changes.

use chrono::{DateTime, Utc};

/// One change of a coil, or one write to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoilChange {
    /// When it changed.
    pub at: DateTime<Utc>,
    /// The coil.
    pub coil: u16,
    /// Its new value.
    pub is_on: bool,
}

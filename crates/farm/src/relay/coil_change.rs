//! What a relay board was told, and what its coils did.

use chrono::{DateTime, Utc};

/// One change of a coil, or one write to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoilChange {
    /// When it changed.
    pub at: DateTime<Utc>,
    /// Which coil.
    pub coil: u16,
    /// What it is since then.
    pub is_on: bool,
}

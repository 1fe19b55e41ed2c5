//! An order whose effect is awaited.

use chrono::{DateTime, Utc};

use crate::outlet::PowerState;

/// An order that no reading has shown yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PendingOrder {
    pub(crate) state: PowerState,
    /// When its effect is due at the latest.
    pub(crate) due_at: DateTime<Utc>,
}

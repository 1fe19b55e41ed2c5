//! The retention of history.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The retention of history. Whole days (UTC) are dropped once their last moment is that old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// For this time.
    For(Duration),
    /// Without a limit.
    Forever,
}

impl Retention {
    /// Returns the time before which history can be dropped.
    pub(super) fn horizon(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::For(span) => now.checked_sub_signed(TimeDelta::from_std(span).ok()?),
            Self::Forever => None,
        }
    }
}

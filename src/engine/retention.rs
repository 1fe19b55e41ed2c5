//! The retention of history.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::machine::parse_span;

/// The retention of history. Whole days (UTC) are dropped once their last moment is that old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// For this time.
    For(Duration),
    /// Without a limit.
    Forever,
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        match parse_span(text) {
            Ok(span) if span.is_zero() => Err("the retention cannot be zero".to_owned()),
            Ok(span) => Ok(Self::For(span)),
            Err(error) => Err(format!("{error}; write it like `90d`, `12h` or `forever`")),
        }
    }
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

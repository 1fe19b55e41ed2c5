//! How long history is kept.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::machine::parse_span;

/// How long history is kept. It goes by whole days (UTC), each once its last moment is that old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// So long.
    For(Duration),
    /// Until somebody drops it by hand.
    Forever,
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        match parse_span(text) {
            Ok(span) if span.is_zero() => Err("what happens must be kept for some time".to_owned()),
            Ok(span) => Ok(Self::For(span)),
            Err(error) => Err(format!("{error}; write it like `90d`, `12h` or `forever`")),
        }
    }
}

impl Retention {
    /// The moment before which nothing needs to be kept any more.
    pub(super) fn horizon(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::For(span) => now.checked_sub_signed(TimeDelta::from_std(span).ok()?),
            Self::Forever => None,
        }
    }
}

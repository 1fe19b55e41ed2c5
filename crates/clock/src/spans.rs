//! Arithmetic of times and durations.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Returns the time `span` after `at`, saturating at the largest time.
#[must_use]
pub fn time_after(at: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(span)
        .ok()
        .and_then(|span| at.checked_add_signed(span))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Returns the time from `now` until `at`; `None` once `at` has passed.
pub(crate) fn remaining(at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Duration> {
    (at - now).to_std().ok().filter(|left| !left.is_zero())
}

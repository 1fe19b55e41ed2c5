//! Times and spans between them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The time `span` after `at`, or the last time there is where the sum does not fit.
#[must_use]
pub fn time_after(at: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(span)
        .ok()
        .and_then(|span| at.checked_add_signed(span))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// What is left from `now` until `at`; nothing once `at` has come.
pub(crate) fn remaining(at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Duration> {
    (at - now).to_std().ok().filter(|left| !left.is_zero())
}

//! The farm time: the common time of all servers on a database, which does not jump.
//!
//! Deadlines are stored as times, and any server can fire them. All servers follow the clock of the one that has run for
//! longest: a starting server joins it, and it follows the wall clock of its machine slowly. A wall clock that is stepped, or
//! that differs from the others, fires deadlines neither early nor late.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::clock::{self, Clock};
use crate::store::{DbConnection, StoreError, workers};

/// How long the time of another server is followed after its last update.
const FARM_TIME_TIMEOUT: Duration = Duration::from_secs(2);
/// The difference from which a warning is logged.
pub(super) const CLOCK_WARNING_THRESHOLD: TimeDelta = TimeDelta::seconds(1);

/// The last known time of the leading server, with the time of the update; nothing where this server leads.
#[derive(Debug, Default)]
pub(super) struct FarmTime(Mutex<Option<(Instant, Option<DateTime<Utc>>)>>);

impl FarmTime {
    /// Sets the time of the leading server; `None` where this server leads.
    pub(super) fn update(&self, time: Option<DateTime<Utc>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), time));
    }

    /// Returns the time that a clock at `own` must follow; `None` is the wall clock. While the database is unavailable, the
    /// clock continues.
    pub(super) fn target(&self, own: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.map(|(updated_at, time)| (updated_at.elapsed(), time)) {
            Some((age, time)) if age <= FARM_TIME_TIMEOUT => time.map(|time| clock::time_after(time, age)),
            Some(_) | None => Some(own),
        }
    }
}

/// Sets the clock to the farm time, where other servers run.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub(super) async fn join_farm_time(db: &mut DbConnection, clock: &dyn Clock) -> Result<(), StoreError> {
    if let Some(time) = workers::find_farm_time(db).await? {
        set_clock(clock, time);
    }
    Ok(())
}

/// Sets `clock` to the farm time.
pub(super) fn set_clock(clock: &dyn Clock, time: DateTime<Utc>) {
    let ahead = clock.join(time);
    if ahead.abs() >= CLOCK_WARNING_THRESHOLD {
        tracing::warn!(
            farm_time_ahead_s = seconds(ahead),
            "farm time differs from this machine's clock, using farm time"
        );
    }
}

/// Converts a span to seconds.
pub(super) fn seconds(span: TimeDelta) -> f64 {
    span.as_seconds_f64()
}

//! The farm's time: one for all servers on a database, and none that jumps.
//!
//! Deadlines are stored as times, and any server may fire them. So all servers keep the time of the one that has run for
//! longest: who starts joins it, whoever runs follows it, and it follows its machine's wall clock, slowly. A wall clock that
//! is stepped, or that differs from the others', neither fires deadlines early nor late.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::clock::{self, Clock};
use crate::store::{DbConnection, StoreError, workers};

/// For how long another server's time is followed after it was last told.
const FARM_TIME_TIMEOUT: Duration = Duration::from_secs(2);
/// A difference that is worth a warning.
pub(super) const CLOCK_WARNING_THRESHOLD: TimeDelta = TimeDelta::seconds(1);

/// What is known of the farm's time, and since when: the time of another server, or none where this one's is the farm's.
#[derive(Debug, Default)]
pub(super) struct FarmTime(Mutex<Option<(Instant, Option<DateTime<Utc>>)>>);

impl FarmTime {
    /// Takes what another server tells; `None` where this one's time is the farm's.
    pub(super) fn update(&self, time: Option<DateTime<Utc>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), time));
    }

    /// What a clock that shows `own` is to follow: `None` is the wall clock. While the database is away nobody knows, and
    /// it goes on as it is.
    pub(super) fn target(&self, own: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.map(|(told_at, time)| (told_at.elapsed(), time)) {
            Some((age, time)) if age <= FARM_TIME_TIMEOUT => time.map(|time| clock::time_after(time, age)),
            Some(_) | None => Some(own),
        }
    }
}

/// Takes the time of the servers that run for this one's.
///
/// # Errors
///
/// [`StoreError`] when the database does not say.
pub(super) async fn join_farm_time(db: &mut DbConnection, clock: &dyn Clock) -> Result<(), StoreError> {
    if let Some(time) = workers::find_farm_time(db).await? {
        set_clock(clock, time);
    }
    Ok(())
}

/// Makes `clock` show the farm's time.
pub(super) fn set_clock(clock: &dyn Clock, time: DateTime<Utc>) {
    let ahead = clock.join(time);
    if ahead.abs() >= CLOCK_WARNING_THRESHOLD {
        tracing::warn!(
            ahead_s = seconds(ahead),
            "the other servers' time differs from this machine's clock and is used"
        );
    }
}

/// A span in seconds.
pub(super) fn seconds(span: TimeDelta) -> f64 {
    span.as_seconds_f64()
}

//! The clock interface.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;

/// Source of the farm's time.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time, truncated to microseconds, the precision of PostgreSQL.
    fn now(&self) -> DateTime<Utc>;

    /// Waits until the clock shows `at` or later.
    fn sleep_until(&self, at: DateTime<Utc>) -> BoxFuture<'static, ()>;

    /// Waits until `span` has elapsed, even if the clock is set meanwhile.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;

    /// Returns the wall clock of this machine, if this clock follows it.
    fn wall(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// Slews towards the time of another server of the farm, or towards the wall clock if there is none; called about
    /// once a second. Returns the step of the wall clock since the last call, if it was stepped.
    fn follow(&self, _peer: Option<DateTime<Utc>>) -> Option<TimeDelta> {
        None
    }

    /// Takes over the time of another server of the farm before any decision is made; returns by how much it is ahead.
    fn join(&self, _peer: DateTime<Utc>) -> TimeDelta {
        TimeDelta::zero()
    }
}

impl dyn Clock {
    /// Runs `work` for at most `span` of this clock; returns `None` if it timed out and `work` was dropped.
    pub async fn timeout<T>(&self, span: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.sleep(span) => None,
        }
    }
}

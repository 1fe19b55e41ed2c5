//! The clock that everybody is given.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;

/// Tells the farm's time and wakes who waits for it.
pub trait Clock: Send + Sync + 'static {
    /// The time now, cut to the microseconds that Postgres keeps.
    fn now(&self) -> DateTime<Utc>;

    /// Ends when the clock shows `at` or later.
    fn sleep_until(&self, at: DateTime<Utc>) -> BoxFuture<'static, ()>;

    /// Ends when `span` has passed, whatever is done to the clock's hands meanwhile.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;

    /// What the wall clock of this machine shows, where this clock follows it.
    fn wall(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// Goes on towards the time of another server of the farm, or towards the wall clock where there is none; to be called
    /// about once a second. Says by how much the wall clock was stepped since the last call, if it was.
    fn follow(&self, _peer: Option<DateTime<Utc>>) -> Option<TimeDelta> {
        None
    }

    /// Takes the time of another server of the farm for its own, before anything is decided by it; says by how much that
    /// is ahead.
    fn join(&self, _peer: DateTime<Utc>) -> TimeDelta {
        TimeDelta::zero()
    }
}

impl dyn Clock {
    /// Runs `work` for at most `span` of this clock; `None` when the time ran out and `work` was dropped.
    pub async fn timeout<T>(&self, span: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.sleep(span) => None,
        }
    }
}

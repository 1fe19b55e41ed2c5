//! Counters of retries, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct RetryCounter(AtomicU64);

impl RetryCounter {
    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of retries since the engine was created.
#[derive(Debug, Default)]
pub struct RetryCounters {
    /// Batches that the database refused because of a deadlock or a serialization failure (40P01, 40001). There should be
    /// none: locks are taken in one order.
    pub conflicts: RetryCounter,
    /// Decisions that were made again because another process, or another batch of this one, had rewritten the row.
    pub overtaken: RetryCounter,
}

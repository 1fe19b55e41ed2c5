//! What had to be tried again: for those who ask how the engine does.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct RetryCounter(AtomicU64);

impl RetryCounter {
    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How much it is now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What had to be tried again since the engine was made.
#[derive(Debug, Default)]
pub struct RetryCounters {
    /// Groups that the database refused because of a deadlock or a conflict of transactions (40P01, 40001), and that were
    /// tried again. There should be none: locks are taken in one order.
    pub conflicts: RetryCounter,
    /// Decisions that were made anew because another process, or another group of this one, had rewritten the
    /// row meanwhile.
    pub overtaken: RetryCounter,
}

//! The pause before a retry.

use std::time::Duration;

use crate::clock;

/// Waits before the database is used again after a failure.
pub(super) async fn pause_before_retry() {
    clock::sleep_real_time(Duration::from_millis(100)).await;
}

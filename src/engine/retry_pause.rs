//! A moment's rest.

use std::time::Duration;

use crate::clock;

/// Waits a moment before the database is asked again.
pub(super) async fn pause_before_retry() {
    clock::sleep_real_time(Duration::from_millis(100)).await;
}

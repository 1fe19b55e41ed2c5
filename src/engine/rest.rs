//! A moment's rest.

use std::time::Duration;

use crate::clock;

/// Waits a moment before the database is asked again.
pub(super) async fn rest() {
    clock::pause(Duration::from_millis(100)).await;
}

//! Sleeping in real time.

use std::time::Duration;

/// Sleeps in real time: for waits that concern this process or machine, not the farm.
pub async fn sleep_real_time(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the clock crate is the only user")]
    tokio::time::sleep(span).await;
}

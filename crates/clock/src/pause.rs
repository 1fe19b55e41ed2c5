//! Waiting in the machine's time.

use std::time::Duration;

/// Waits in real time: for what is about this process or this machine, and not about the farm.
pub async fn sleep_real_time(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    tokio::time::sleep(span).await;
}

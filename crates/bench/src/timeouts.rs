//! Timeouts in real time.

use std::error::Error;
use std::time::{Duration, Instant};

use clock::sleep_real_time;

/// Runs `work` for at most `limit` of real time; `None` on timeout.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = sleep_real_time(limit) => None,
    }
}

/// Polls until `is_done`; false if that took longer than `limit` of real time.
pub(crate) async fn until(
    limit: Duration,
    mut is_done: impl AsyncFnMut() -> Result<bool, Box<dyn Error>>,
) -> Result<bool, Box<dyn Error>> {
    let give_up_at = Instant::now() + limit;
    loop {
        if is_done().await? {
            return Ok(true);
        }
        if Instant::now() >= give_up_at {
            return Ok(false);
        }
        sleep_real_time(Duration::from_millis(200)).await;
    }
}

//! Waiting for so long and no longer, by real time: what is waited for is the machine's.

use std::error::Error;
use std::time::{Duration, Instant};

use clock::sleep_real_time;

/// Does `work` for at most `limit` of real time; `None` when the time ran out.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = sleep_real_time(limit) => None,
    }
}

/// Waits until it is so, asking often enough; false when it was not within `limit` of real time.
pub(crate) async fn until(
    limit: Duration,
    mut is_so: impl AsyncFnMut() -> Result<bool, Box<dyn Error>>,
) -> Result<bool, Box<dyn Error>> {
    let give_up_at = Instant::now() + limit;
    loop {
        if is_so().await? {
            return Ok(true);
        }
        if Instant::now() >= give_up_at {
            return Ok(false);
        }
        sleep_real_time(Duration::from_millis(200)).await;
    }
}

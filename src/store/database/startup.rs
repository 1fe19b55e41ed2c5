//! Waiting for the database at startup.

use std::time::Duration;

use tokio::time::Instant;

use super::timeouts::pause;
use crate::store::error::StoreError;

/// The interval of log lines while waiting.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// The interval of attempts to connect.
const RETRY_INTERVAL: Duration = Duration::from_millis(300);

/// The wait for the database at startup.
#[derive(Debug)]
pub struct StartupWait {
    begun_at: Instant,
    logged_at: Option<Instant>,
}

impl Default for StartupWait {
    fn default() -> Self {
        Self { begun_at: Instant::now(), logged_at: None }
    }
}

impl StartupWait {
    /// Waits before the next attempt after `error`, and logs the cause from time to time.
    ///
    /// # Errors
    ///
    /// `error` itself when waiting does not help.
    pub async fn wait(&mut self, error: StoreError) -> Result<(), StoreError> {
        let Some(cause) = error.cause().filter(|cause| cause.is_worth_waiting()) else {
            return Err(error);
        };
        if self.logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            self.logged_at = Some(Instant::now());
            let waited_s = self.begun_at.elapsed().as_secs();
            let (cause, error) = (cause.code(), cause.innermost());
            tracing::warn!(cause, error, waited_s, "waiting for the database");
        }
        pause(RETRY_INTERVAL).await;
        Ok(())
    }
}

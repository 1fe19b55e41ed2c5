//! Waiting for the database at a start.

use std::time::Duration;

use tokio::time::Instant;

use super::timeouts::pause;
use crate::store::error::StoreError;

/// How often a start logs what it still waits for.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How often a start tries to connect.
const RETRY_INTERVAL: Duration = Duration::from_millis(300);

/// A start that waits for the database.
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
    /// Waits a little before it is tried again what failed with `error`, and says in the log what it waits for.
    ///
    /// # Errors
    ///
    /// `error` itself where waiting would not help.
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

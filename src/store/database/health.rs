//! Health of the database: checked each second on a connection of its own, and logged when it changes.
//!
//! ```text
//! health check ─▶ answers? writable? which life? ─┐
//! connections for batches available? ─────────────┼─▶ outage: one log line at its begin and end; 503 with its cause
//! batches written? (disk) ────────────────────────┘
//! ```
//!
//! During an outage, requests do not try the database: they fail at once with the cause. Requests that were waiting when it
//! began fail then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::store::error::{StoreError, UnavailableCause};

/// The interval of checks, and that during an outage.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(1);
pub(super) const OUTAGE_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// The time limit for an answer; together with the interval less than the 5 s that a reading request may wait.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_millis(2500);
/// The time after which the database counts as silent, although the check, which may open a connection, goes on.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_millis(3500);

/// A part of the database that can fail separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HealthPart {
    /// The database as a whole.
    Database,
    /// Only writes, as with a full disk.
    Writing,
}

#[derive(Debug, Clone)]
struct DatabaseOutage {
    cause: Arc<UnavailableCause>,
    since: Instant,
    /// Whether its beginning was logged, so that its end is too.
    is_logged: bool,
}

#[derive(Debug)]
struct HealthState {
    database: Option<DatabaseOutage>,
    writing: Option<DatabaseOutage>,
    /// When the last outage began; connections from before may be broken.
    last_outage_at: Instant,
    /// The number of outages of the whole database, and the cause of the last one.
    outages: u64,
    last_cause: Option<Arc<UnavailableCause>>,
}

/// The health of the database.
#[derive(Debug)]
pub(super) struct DatabaseHealth(watch::Sender<HealthState>);

impl Default for DatabaseHealth {
    fn default() -> Self {
        let last_outage_at = Instant::now();
        Self(watch::Sender::new(HealthState {
            database: None,
            writing: None,
            last_outage_at,
            outages: 0,
            last_cause: None,
        }))
    }
}

impl DatabaseHealth {
    /// Returns the cause of the current outage of the whole database, if there is one.
    pub(super) fn outage(&self) -> Option<Arc<UnavailableCause>> {
        self.0.borrow().database.as_ref().map(|outage| Arc::clone(&outage.cause))
    }

    /// Returns why events cannot be written, if they cannot.
    pub(super) fn fault(&self) -> Option<Arc<UnavailableCause>> {
        let state = self.0.borrow();
        let outage = state.database.as_ref().or(state.writing.as_ref());
        outage.map(|outage| Arc::clone(&outage.cause))
    }

    /// Whether writes fail.
    pub(super) fn has_writing_fault(&self) -> bool {
        self.0.borrow().writing.is_some()
    }

    pub(super) fn last_outage_at(&self) -> Instant {
        self.0.borrow().last_outage_at
    }

    /// Returns the number of outages of the whole database.
    pub(super) fn outages(&self) -> u64 {
        self.0.borrow().outages
    }

    /// Waits until an outage of the whole database begins, and returns its cause.
    pub(super) async fn lost(&self) -> Arc<UnavailableCause> {
        self.lost_since(self.outages()).await
    }

    /// Waits until there were more than `known` outages, and returns the cause of the last one.
    pub(super) async fn lost_since(&self, known: u64) -> Arc<UnavailableCause> {
        let mut state = self.0.subscribe();
        if let Ok(state) = state.wait_for(|state| state.outages > known).await
            && let Some(cause) = &state.last_cause
        {
            return Arc::clone(cause);
        }
        // Unreachable: the sender is a field of `self`, and each outage has a cause.
        std::future::pending().await
    }

    /// Notes a failed write if the cause is not the written data.
    pub(super) fn note_failed_write(&self, error: &StoreError) {
        if let Some(cause) = error.cause()
            && fails_writes_alone(cause.code())
        {
            self.note(HealthPart::Writing, Err(Arc::clone(cause)));
        }
    }

    /// Notes that a part is healthy, or why it is not, and logs changes.
    pub(super) fn note(&self, part: HealthPart, checked: Result<(), Arc<UnavailableCause>>) {
        self.0.send_if_modified(|state| {
            let is_available = state.database.is_none();
            let outage = match part {
                HealthPart::Database => &mut state.database,
                HealthPart::Writing => &mut state.writing,
            };
            match (checked, outage.as_mut()) {
                (Ok(()), None) => false,
                (Ok(()), Some(ended)) => {
                    let lasted_ms = u64::try_from(ended.since.elapsed().as_millis()).unwrap_or(u64::MAX);
                    let cause = ended.cause.code();
                    match part {
                        HealthPart::Database => tracing::info!(cause, lasted_ms, "database available again"),
                        HealthPart::Writing if ended.is_logged => {
                            tracing::info!(cause, lasted_ms, "database accepts writes again");
                        }
                        HealthPart::Writing => {}
                    }
                    *outage = None;
                    true
                }
                (Err(cause), Some(lasting)) => {
                    if !lasting.is_logged {
                        lasting.is_logged = log_rejected_writes(&cause, is_available);
                    }
                    // Requests get the latest cause; the log has the first that concerns this part.
                    lasting.cause = cause;
                    true
                }
                (Err(cause), None) => {
                    let now = Instant::now();
                    let is_logged = match part {
                        HealthPart::Database => {
                            let error = cause.innermost();
                            tracing::warn!(cause = cause.code(), error, "database unavailable");
                            true
                        }
                        HealthPart::Writing => log_rejected_writes(&cause, is_available),
                    };
                    *outage = Some(DatabaseOutage { cause: Arc::clone(&cause), since: now, is_logged });
                    if part == HealthPart::Database {
                        state.outages += 1;
                        state.last_outage_at = now;
                        state.last_cause = Some(cause);
                    }
                    true
                }
            }
        });
    }
}

/// Whether a cause, seen at a write, leaves the database available for reads.
fn fails_writes_alone(code: &str) -> bool {
    matches!(code, "disk_full" | "disk_error" | "out_of_memory" | "slow")
}

/// Logs that writes are rejected; returns whether it did. While the whole database is unavailable, only causes that concern
/// writes alone are logged: the outage has a line of its own.
fn log_rejected_writes(cause: &UnavailableCause, is_available: bool) -> bool {
    let (code, error) = (cause.code(), cause.innermost());
    let is_logged = is_available || fails_writes_alone(code);
    if is_logged {
        tracing::warn!(cause = code, error, "database rejects writes");
    } else {
        tracing::debug!(cause = code, error, "no connection for writes");
    }
    is_logged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_when_an_outage_begins_but_not_for_one_that_lasts() {
        let health = Arc::new(DatabaseHealth::default());
        let (cause, ()) = tokio::join!(health.lost(), async {
            health.note(HealthPart::Writing, Err(Arc::new(UnavailableCause::ReadOnly)));
            health.note(HealthPart::Database, Err(Arc::new(UnavailableCause::InRecovery)));
        });
        assert_eq!(cause.code(), "in_recovery");
        assert_eq!(health.outage().map(|cause| cause.code()), Some("in_recovery"));
        health.note(HealthPart::Database, Err(Arc::new(UnavailableCause::SharedSession)));
        assert_eq!(health.fault().map(|cause| cause.code()), Some("shared_session"));
        let mut later = std::pin::pin!(health.lost());
        assert!(futures_util::poll!(later.as_mut()).is_pending());
        health.note(HealthPart::Database, Ok(()));
        assert!(futures_util::poll!(later.as_mut()).is_pending());
        assert_eq!(health.fault().map(|cause| cause.code()), Some("read_only"), "writes still fail");
        health.note(HealthPart::Writing, Ok(()));
        assert!(health.fault().is_none());
    }

    #[test]
    fn rejected_writes_are_logged_once_and_not_beside_an_outage_of_the_whole_database() {
        let health = DatabaseHealth::default();
        let is_logged = || health.0.borrow().writing.as_ref().map(|outage| outage.is_logged);
        let refused = || Err(Arc::new(UnavailableCause::InRecovery));
        health.note(HealthPart::Database, refused());
        health.note(HealthPart::Writing, refused());
        assert_eq!(is_logged(), Some(false), "the outage is logged");
        health.note(HealthPart::Database, Ok(()));
        health.note(HealthPart::Writing, refused());
        assert_eq!(is_logged(), Some(true), "it outlasts the outage");
        health.note(HealthPart::Writing, Ok(()));
        health.note(HealthPart::Writing, refused());
        assert_eq!(is_logged(), Some(true), "the database is available");
    }

    #[tokio::test]
    async fn work_on_a_connection_ends_for_an_outage_that_began_before_it_waits() {
        let health = DatabaseHealth::default();
        let known = health.outages();
        health.note(HealthPart::Database, Err(Arc::new(UnavailableCause::InRecovery)));
        let lost = std::pin::pin!(health.lost_since(known));
        assert!(futures_util::poll!(lost).is_ready());
        assert!(futures_util::poll!(std::pin::pin!(health.lost())).is_pending());
    }
}

//! Whether the database serves: asked each second by one connection of its own, and told once when that changes.
//!
//! ```text
//! pulse ─▶ answers? writable? which life? ─┐
//! connections for events are there? ───────┼─▶ outage: one line when it begins, one when it ends; 503 with its cause
//! groups are written? (disk) ──────────────┘
//! ```
//!
//! While there is an outage nothing is tried again for each request: whoever asks is told the cause at once, and whoever
//! waited when it began is told then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::store::error::{StoreError, UnavailableCause};

/// How often the database is asked, and how often while it does not serve.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(1);
pub(super) const OUTAGE_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// How long it may take to answer until it counts as silent: with the period less than 5 s, which is how long a reading
/// request may wait for it.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_millis(2500);
/// How long all of a check may take, a new connection included, until the database counts as silent; the check goes on.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_millis(3500);

/// What can be out of order by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HealthPart {
    /// The database as a whole.
    Database,
    /// Only writing, as where the disk is full.
    Writing,
}

#[derive(Debug, Clone)]
struct DatabaseOutage {
    cause: Arc<UnavailableCause>,
    since: Instant,
}

#[derive(Debug)]
struct HealthState {
    database: Option<DatabaseOutage>,
    writing: Option<DatabaseOutage>,
    /// When the database was last found to be away; connections from before are doubtful.
    last_outage_at: Instant,
    /// How many outages of the whole database there were, and why the last one.
    outages: u64,
    last_cause: Option<Arc<UnavailableCause>>,
}

/// Whether the database serves.
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
    /// Why the database does not serve at all, if it does not.
    pub(super) fn outage(&self) -> Option<Arc<UnavailableCause>> {
        self.0.borrow().database.as_ref().map(|outage| Arc::clone(&outage.cause))
    }

    /// Why events cannot be written, if they cannot.
    pub(super) fn fault(&self) -> Option<Arc<UnavailableCause>> {
        let state = self.0.borrow();
        let outage = state.database.as_ref().or(state.writing.as_ref());
        outage.map(|outage| Arc::clone(&outage.cause))
    }

    /// Whether only writing is out of order.
    pub(super) fn has_writing_fault(&self) -> bool {
        self.0.borrow().writing.is_some()
    }

    pub(super) fn last_outage_at(&self) -> Instant {
        self.0.borrow().last_outage_at
    }

    /// How many outages of the whole database there were.
    pub(super) fn outages(&self) -> u64 {
        self.0.borrow().outages
    }

    /// Waits until an outage of the whole database begins, and says why.
    pub(super) async fn lost(&self) -> Arc<UnavailableCause> {
        self.lost_since(self.outages()).await
    }

    /// Waits until there was another outage after the first `seen`, and says why.
    pub(super) async fn lost_since(&self, seen: u64) -> Arc<UnavailableCause> {
        let mut state = self.0.subscribe();
        if let Ok(state) = state.wait_for(|state| state.outages > seen).await
            && let Some(cause) = &state.last_cause
        {
            return Arc::clone(cause);
        }
        // The sender lives as long as we do, and there is a cause of each outage.
        std::future::pending().await
    }

    /// Notes why a write failed where that is no matter of what was written.
    pub(super) fn note_failed_write(&self, error: &StoreError) {
        if let Some(cause) = error.cause()
            && matches!(cause.code(), "disk_full" | "disk_error" | "out_of_memory" | "slow")
        {
            self.note(HealthPart::Writing, Err(Arc::clone(cause)));
        }
    }

    /// Notes that a part is in order, or why it is not; the log is told when that changes.
    pub(super) fn note(&self, part: HealthPart, found: Result<(), Arc<UnavailableCause>>) {
        self.0.send_if_modified(|state| {
            let outage = match part {
                HealthPart::Database => &mut state.database,
                HealthPart::Writing => &mut state.writing,
            };
            match (found, outage.as_mut()) {
                (Ok(()), None) => false,
                (Ok(()), Some(ended)) => {
                    let lasted_ms = u64::try_from(ended.since.elapsed().as_millis()).unwrap_or(u64::MAX);
                    let cause = ended.cause.code();
                    match part {
                        HealthPart::Database => tracing::info!(cause, lasted_ms, "database available again"),
                        HealthPart::Writing => {
                            tracing::info!(cause, lasted_ms, "database takes writes again")
                        }
                    }
                    *outage = None;
                    true
                }
                (Err(cause), Some(lasting)) => {
                    // The latest cause is shown; the log has the first.
                    lasting.cause = cause;
                    true
                }
                (Err(cause), None) => {
                    let (word, error) = (cause.code(), cause.innermost());
                    let now = Instant::now();
                    *outage = Some(DatabaseOutage { cause: Arc::clone(&cause), since: now });
                    match part {
                        HealthPart::Database => {
                            tracing::warn!(cause = word, error, "database unavailable");
                            state.outages += 1;
                            state.last_outage_at = now;
                            state.last_cause = Some(cause);
                        }
                        HealthPart::Writing => {
                            tracing::warn!(cause = word, error, "database does not take writes")
                        }
                    }
                    true
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_told_when_an_outage_begins_and_not_of_one_that_lasts() {
        let health = Arc::new(DatabaseHealth::default());
        let (told, ()) = tokio::join!(health.lost(), async {
            health.note(HealthPart::Writing, Err(Arc::new(UnavailableCause::ReadOnly)));
            health.note(HealthPart::Database, Err(Arc::new(UnavailableCause::InRecovery)));
        });
        assert_eq!(told.code(), "in_recovery");
        assert_eq!(health.outage().map(|cause| cause.code()), Some("in_recovery"));
        health.note(HealthPart::Database, Err(Arc::new(UnavailableCause::SharedSession)));
        assert_eq!(health.fault().map(|cause| cause.code()), Some("shared_session"));
        let mut later = std::pin::pin!(health.lost());
        assert!(futures_util::poll!(later.as_mut()).is_pending());
        health.note(HealthPart::Database, Ok(()));
        assert!(futures_util::poll!(later.as_mut()).is_pending());
        assert_eq!(
            health.fault().map(|cause| cause.code()),
            Some("read_only"),
            "writing is still out of order"
        );
        health.note(HealthPart::Writing, Ok(()));
        assert!(health.fault().is_none());
    }

    #[tokio::test]
    async fn whoever_has_a_connection_is_told_of_an_outage_that_began_before_it_waits() {
        let health = DatabaseHealth::default();
        let taken = health.outages();
        health.note(HealthPart::Database, Err(Arc::new(UnavailableCause::InRecovery)));
        let lost = std::pin::pin!(health.lost_since(taken));
        assert!(futures_util::poll!(lost).is_ready());
        assert!(futures_util::poll!(std::pin::pin!(health.lost())).is_pending());
    }
}

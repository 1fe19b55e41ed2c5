//! The connections of a pool: idle ones, their checks, and the counts.

use crate::formatting::with_causes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::health::DatabaseHealth;
use super::opener::ConnectionOpener;
use super::purpose::ConnectionPurpose;
use super::session::DatabaseSession;
use super::timeouts::within;

/// The time limit for the answer of an idle connection.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection for batches is used without a check.
pub(super) const UNCHECKED_USE_FOR: Duration = Duration::from_secs(1);
/// The interval of checks of idle connections.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// The state that all clones of a pool share.
#[derive(Debug)]
pub(super) struct PoolMembers {
    pub(super) opener: Arc<ConnectionOpener>,
    pub(super) health: Arc<DatabaseHealth>,
    pub(super) purpose: ConnectionPurpose,
    pub(super) min: usize,
    pub(super) idle: Mutex<Vec<IdleConnection>>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) returned: Notify,
    pub(super) max: u32,
}

/// An idle connection.
#[derive(Debug)]
pub(super) struct IdleConnection {
    pub(super) session: DatabaseSession,
    pub(super) used_at: Instant,
    pub(super) checked_at: Instant,
}

impl PoolMembers {
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<IdleConnection>> {
        // A panic elsewhere cannot have left it inconsistent: each use is one call.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the idle connection that was used last, so that the others can expire.
    pub(super) fn pop(&self) -> Option<IdleConnection> {
        self.lock().pop()
    }

    /// Returns the number of lent connections.
    pub(super) fn lent(&self) -> usize {
        (self.max as usize).saturating_sub(self.permits.available_permits())
    }

    /// Whether a connection is lent to another than the caller, which holds a permit.
    pub(super) fn has_lent(&self) -> bool {
        self.lent() > 1
    }

    /// Returns the number of connections, lent and idle.
    pub(super) fn size(&self) -> usize {
        self.lent() + self.lock().len()
    }

    /// Returns how long a connection is used without a check.
    ///
    /// Connections for batches are never returned in the middle of an answer. Others may be, and the check reads the rest.
    pub(super) fn unchecked_use_for(&self) -> Duration {
        if self.purpose == ConnectionPurpose::Batch { UNCHECKED_USE_FOR } else { Duration::ZERO }
    }

    /// Returns the interval of checks of idle connections.
    pub(super) fn check_interval(&self) -> Duration {
        if self.purpose == ConnectionPurpose::Batch { UNCHECKED_USE_FOR / 2 } else { CHECK_INTERVAL }
    }

    pub(super) fn put_back(&self, session: DatabaseSession) {
        if self.permits.is_closed() {
            return;
        }
        let now = Instant::now();
        self.lock().push(IdleConnection { session, used_at: now, checked_at: now });
        self.returned.notify_one();
    }

    /// Checks an idle connection, unless it was checked within `trust`; `None` if it is not usable.
    pub(super) async fn revive(&self, idle: IdleConnection, trust: Duration) -> Option<DatabaseSession> {
        let IdleConnection { mut session, checked_at, .. } = idle;
        // Connections up to the minimum are replaced by `keep`, while no request waits for them.
        let is_expired = self.opener.is_past_lifetime(&session) && self.size() > self.min;
        if is_expired || !self.is_good(&session) {
            return None;
        }
        if checked_at.elapsed() >= trust {
            within(PING_TIMEOUT, async { Ok(session.db.ping().await?) }).await.ok()?;
        }
        Some(session)
    }

    /// Replaces a connection that exceeds the maximum age; it stays if no other can be opened.
    pub(super) async fn replace(&self, old: IdleConnection) {
        match self.opener.open(self.purpose).await {
            Ok(session) => self.put_back(session),
            Err(error) => {
                tracing::debug!(
                    error = %with_causes(&error),
                    "cannot replace connection, kept beyond its maximum age"
                );
                let used_at = old.used_at;
                if let Some(session) = self.revive(old, Duration::ZERO).await {
                    self.lock().insert(0, IdleConnection { session, used_at, checked_at: Instant::now() });
                }
            }
        }
    }

    /// Whether a connection belongs to the present life, and was opened after the last outage began.
    pub(super) fn is_good(&self, session: &DatabaseSession) -> bool {
        session.life == self.opener.lives.present() && session.opened_at >= self.health.last_outage_at()
    }
}

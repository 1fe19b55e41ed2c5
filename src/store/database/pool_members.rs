//! The connections of a pool: which are idle, which are good, and how many there are.

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

/// How long an idle connection may take to answer before it is given up.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection is taken to be alive without being asked.
pub(super) const UNCHECKED_USE_FOR: Duration = Duration::from_secs(1);
/// How often a connection that nobody uses is asked whether it is alive.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// What all clones of a pool share.
#[derive(Debug)]
pub(super) struct PoolMembers {
    pub(super) opener: Arc<ConnectionOpener>,
    pub(super) health: Arc<DatabaseHealth>,
    pub(super) purpose: ConnectionPurpose,
    pub(super) least: usize,
    pub(super) idle: Mutex<Vec<IdleConnection>>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) returned: Notify,
    pub(super) most: u32,
}

/// A connection that nobody uses.
#[derive(Debug)]
pub(super) struct IdleConnection {
    pub(super) session: DatabaseSession,
    pub(super) used_at: Instant,
    pub(super) asked_at: Instant,
}

impl PoolMembers {
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<IdleConnection>> {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that was used last: the others may be given up.
    pub(super) fn pop(&self) -> Option<IdleConnection> {
        self.lock().pop()
    }

    /// How many are on loan.
    pub(super) fn lent(&self) -> usize {
        (self.most as usize).saturating_sub(self.permits.available_permits())
    }

    /// Whether others than whoever asks have one on loan.
    pub(super) fn has_lent(&self) -> bool {
        self.lent() > 1
    }

    /// How many there are, on loan or idle.
    pub(super) fn size(&self) -> usize {
        self.lent() + self.lock().len()
    }

    /// How long a connection is taken to be alive without being asked. Those that write groups are never given back in the
    /// middle of an answer; of others it is not known, and the rest of an answer is read before they are used again.
    pub(super) fn unchecked_use_for(&self) -> Duration {
        if self.purpose == ConnectionPurpose::Batch { UNCHECKED_USE_FOR } else { Duration::ZERO }
    }

    /// How often a connection that nobody uses is asked.
    pub(super) fn check_interval(&self) -> Duration {
        if self.purpose == ConnectionPurpose::Batch { UNCHECKED_USE_FOR / 2 } else { CHECK_INTERVAL }
    }

    pub(super) fn put_back(&self, session: DatabaseSession) {
        if self.permits.is_closed() {
            return;
        }
        let now = Instant::now();
        self.lock().push(IdleConnection { session, used_at: now, asked_at: now });
        self.returned.notify_one();
    }

    /// Makes sure that an idle connection is still good; it is asked unless it was within `trust`.
    pub(super) async fn revive(&self, idle: IdleConnection, trust: Duration) -> Option<DatabaseSession> {
        let IdleConnection { mut session, asked_at, .. } = idle;
        // Those that are kept are replaced while nobody waits for them.
        let is_to_go = self.opener.is_past_lifetime(&session) && self.size() > self.least;
        if is_to_go || !self.is_good(&session) {
            return None;
        }
        if asked_at.elapsed() >= trust {
            within(PING_TIMEOUT, async { Ok(session.db.ping().await?) }).await.ok()?;
        }
        Some(session)
    }

    /// Makes another connection in the place of one that is kept and has become old, which stays where none can be had.
    pub(super) async fn replace(&self, old: IdleConnection) {
        match self.opener.open(self.purpose).await {
            Ok(session) => self.put_back(session),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "connection kept beyond its age");
                let used_at = old.used_at;
                if let Some(session) = self.revive(old, Duration::ZERO).await {
                    self.lock().insert(0, IdleConnection { session, used_at, asked_at: Instant::now() });
                }
            }
        }
    }

    /// Whether a connection is of the present life, and not from before the database was away.
    pub(super) fn is_good(&self, session: &DatabaseSession) -> bool {
        session.life == self.opener.lives.present() && session.opened_at >= self.health.last_outage_at()
    }
}

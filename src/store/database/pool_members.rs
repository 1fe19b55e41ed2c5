//! The connections of a pool: which are idle, which are good, and how many there are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::health::Health;
use super::opener::Opener;
use super::purpose::Purpose;
use super::session::Session;
use super::timeouts::within;

/// How long an idle connection may take to answer before it is given up.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection is taken to be alive without being asked.
pub(super) const TRUST: Duration = Duration::from_secs(1);
/// How often a connection that nobody uses is asked whether it is alive.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// What all clones of a pool share.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) opener: Arc<Opener>,
    pub(super) health: Arc<Health>,
    pub(super) purpose: Purpose,
    pub(super) least: usize,
    pub(super) idle: Mutex<Vec<Idle>>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) returned: Notify,
    pub(super) most: u32,
}

/// A connection that nobody uses.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) session: Session,
    pub(super) used_at: Instant,
    pub(super) asked_at: Instant,
}

impl Members {
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that was used last: the others may be given up.
    pub(super) fn pop(&self) -> Option<Idle> {
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
    pub(super) fn trust(&self) -> Duration {
        if self.purpose == Purpose::Group { TRUST } else { Duration::ZERO }
    }

    /// How often a connection that nobody uses is asked.
    pub(super) fn asked_every(&self) -> Duration {
        if self.purpose == Purpose::Group { TRUST / 2 } else { CHECK_INTERVAL }
    }

    pub(super) fn put_back(&self, session: Session) {
        if self.permits.is_closed() {
            return;
        }
        let now = Instant::now();
        self.lock().push(Idle { session, used_at: now, asked_at: now });
        self.returned.notify_one();
    }

    /// Makes sure that an idle connection is still good; it is asked unless it was within `trust`.
    pub(super) async fn revive(&self, idle: Idle, trust: Duration) -> Option<Session> {
        let Idle { mut session, asked_at, .. } = idle;
        // Those that are kept are replaced while nobody waits for them.
        let is_to_go = self.opener.is_worn(&session) && self.size() > self.least;
        if is_to_go || !self.is_good(&session) {
            return None;
        }
        if asked_at.elapsed() >= trust {
            within(PING_TIMEOUT, async { Ok(session.db.ping().await?) }).await.ok()?;
        }
        Some(session)
    }

    /// Makes another connection in the place of one that is kept and has become old, which stays where none can be had.
    pub(super) async fn replace(&self, old: Idle) {
        match self.opener.open(self.purpose).await {
            Ok(session) => self.put_back(session),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "connection kept beyond its age");
                let used_at = old.used_at;
                if let Some(session) = self.revive(old, Duration::ZERO).await {
                    self.lock().insert(0, Idle { session, used_at, asked_at: Instant::now() });
                }
            }
        }
    }

    /// Whether a connection is of the present life, and not from before the database was away.
    pub(super) fn is_good(&self, session: &Session) -> bool {
        session.life == self.opener.lives.present() && session.opened_at >= self.health.last_outage_at()
    }
}

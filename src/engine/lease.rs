//! The life of this process as a worker: it registers and renews its lease.
//!
//! Leases run on real time: they are about processes, not about the farm. What a dead process was doing is taken over
//! within two seconds: the lease's rest, and the time until somebody looks.

use std::time::Duration;

use tokio::time::Instant;

use super::deadlines::Share;
use crate::store::actions::WorkerId;
use crate::store::workers::{self, Colleagues};
use crate::store::{Connection, Store, StoreError};

/// How long a process that says nothing is taken to be alive.
pub(super) const HOLDS: Duration = Duration::from_millis(1600);
/// How often a lease is renewed: often enough that five renewals may fail.
pub(super) const PERIOD: Duration = Duration::from_millis(250);

/// A registered worker that knows until when it may act.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) id: WorkerId,
    holds_until: Instant,
    db: Option<Connection>,
}

/// What renewing a lease came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The lease holds, and these live.
    Holds(Colleagues),
    /// It could not be renewed, and holds for a while yet.
    Unknown,
    /// It has run out.
    Lapsed,
}

impl Registered {
    /// Registers this process.
    pub(super) async fn register(store: &Store) -> Result<Self, StoreError> {
        let asked = Instant::now();
        let id = workers::register(store, &format!("pid {}", std::process::id()), HOLDS).await?;
        Ok(Self { id, holds_until: asked + HOLDS, db: None })
    }

    /// Until when this process may act on what it has.
    pub(super) fn holds_until(&self) -> Instant {
        self.holds_until
    }

    /// Renews the lease.
    pub(super) async fn renew(&mut self, store: &Store) -> Renewal {
        let asked = Instant::now();
        let left = self.holds_until.saturating_duration_since(asked);
        #[expect(clippy::disallowed_methods, reason = "a lease is about this process, not about the farm")]
        let renewed = tokio::time::timeout(left, self.ask(store)).await;
        match renewed {
            Ok(Ok(Some(colleagues))) => {
                self.holds_until = asked + HOLDS;
                Renewal::Holds(colleagues)
            }
            Ok(Err(_)) if Instant::now() < self.holds_until => Renewal::Unknown,
            Ok(Ok(None) | Err(_)) | Err(_) => Renewal::Lapsed,
        }
    }

    async fn ask(&mut self, store: &Store) -> Result<Option<Colleagues>, StoreError> {
        // Kept only if it worked: one that broke is made anew.
        let mut db = match self.db.take() {
            Some(db) => db,
            None => store.connect_for_lease().await?,
        };
        let colleagues = workers::renew(&mut db, self.id, HOLDS).await?;
        self.db = Some(db);
        Ok(colleagues)
    }

    /// Which deadlines fall to this process.
    pub(super) fn share(&self, colleagues: &Colleagues) -> Share {
        let rank = colleagues.alive.iter().position(|worker| *worker == self.id).unwrap_or_default();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Share { rank: number(rank), of: number(colleagues.alive.len()) }
    }
}

//! The life of this process as a worker: it registers and renews its lease.
//!
//! Leases run on real time: they are about processes, not about the farm. What a dead process was doing is taken over
//! within two seconds: the lease's rest, and the time until somebody looks.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::deadlines::DeadlineShare;
use crate::store::actions::WorkerId;
use crate::store::workers::{self, Peers, WorkerStatus};
use crate::store::{DatabaseLife, DatabaseSession, Store, StoreError};

/// How long a process that says nothing is taken to be alive.
pub(super) const LEASE_DURATION: Duration = Duration::from_millis(1600);
/// How often a lease is renewed: often enough that five renewals may fail.
pub(super) const RENEWAL_INTERVAL: Duration = Duration::from_millis(250);

/// How long deadlines are held at most after nobody could report anything: long enough to report again, and to begin
/// anew what was interrupted.
const MAX_DEADLINE_HOLD: Duration = Duration::from_mins(5);

/// Which worker this process is: in another life of the database its number may be another process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WorkerIdentity {
    pub(super) id: WorkerId,
    /// The life of the database that it is registered in.
    pub(super) life: DatabaseLife,
}

/// A registered worker that knows until when it may act.
#[derive(Debug)]
pub(super) struct RegisteredWorker {
    pub(super) identity: WorkerIdentity,
    /// For how long it lets no deadline pass, from the beginning.
    pub(super) hold_deadlines_for: Duration,
    lease_ends_at: Instant,
    db: Option<DatabaseSession>,
}

/// Leases that are too far ahead to have been given by the database's clock as it is, and since when each has been seen
/// unchanged. Where that clock was put back, the lease of a process that died would hold for as long as it was put back by.
#[derive(Debug, Default)]
pub(super) struct FutureLeases(HashMap<WorkerId, (DateTime<Utc>, Instant)>);

impl FutureLeases {
    /// Takes what is seen `now`, and gives those that nobody has renewed for as long as a lease holds: by elapsed time, their
    /// processes are dead.
    fn find_expired(&mut self, seen: Vec<(WorkerId, DateTime<Utc>)>, now: Instant) -> Vec<WorkerId> {
        let before = std::mem::take(&mut self.0);
        self.0.extend(seen.into_iter().map(|(worker, until)| {
            let known = before.get(&worker).filter(|(known, _)| *known == until);
            (worker, (until, known.map_or(now, |(_, since)| *since)))
        }));
        let is_silent = |since: Instant| now.saturating_duration_since(since) > LEASE_DURATION;
        self.0.iter().filter(|(_, (_, since))| is_silent(*since)).map(|(worker, _)| *worker).collect()
    }

    /// Removes the workers whose leases have run out, and puts their actions back; says how many workers those were.
    pub(super) async fn reclaim_expired(
        &mut self,
        store: &Store,
        now: DateTime<Utc>,
    ) -> Result<usize, StoreError> {
        let ahead = workers::list_leases_ahead(store, 2 * LEASE_DURATION).await?;
        let silent = self.find_expired(ahead, Instant::now());
        workers::reclaim_expired(store, &silent, 2 * LEASE_DURATION, now).await
    }
}

/// What renewing a lease came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeaseRenewal {
    /// The lease holds, and these live.
    Renewed(Peers),
    /// It could not be renewed, and holds for a while yet.
    Failed,
    /// It has run out.
    Expired,
}

impl RegisteredWorker {
    /// Registers this process.
    pub(super) async fn register(store: &Store) -> Result<Self, StoreError> {
        // Asked for first: where that changes meanwhile the lease is void, and this process registers again.
        let (asked, life) = (Instant::now(), store.life());
        let name = format!("pid {}", std::process::id());
        let workers::WorkerRegistration { id, hold_deadlines_for: hold } =
            workers::register(store, &name, LEASE_DURATION, MAX_DEADLINE_HOLD).await?;
        Ok(Self {
            identity: WorkerIdentity { id, life },
            hold_deadlines_for: hold,
            lease_ends_at: asked + LEASE_DURATION,
            db: None,
        })
    }

    /// Until when this process may act on what it has.
    pub(super) fn lease_ends_at(&self) -> Instant {
        self.lease_ends_at
    }

    /// Renews the lease, and tells the others how this process is.
    pub(super) async fn renew(&mut self, store: &Store, news: WorkerStatus) -> LeaseRenewal {
        let asked = Instant::now();
        let left = self.lease_ends_at.saturating_duration_since(asked);
        #[expect(clippy::disallowed_methods, reason = "a lease is about this process, not about the farm")]
        let renewed = tokio::time::timeout(left, self.renew_row(store, news)).await;
        match renewed {
            Ok(Ok(Some(colleagues))) => {
                self.lease_ends_at = asked + LEASE_DURATION;
                LeaseRenewal::Renewed(colleagues)
            }
            Ok(Err(_)) if Instant::now() < self.lease_ends_at => LeaseRenewal::Failed,
            Ok(Ok(None) | Err(_)) | Err(_) => LeaseRenewal::Expired,
        }
    }

    async fn renew_row(&mut self, store: &Store, news: WorkerStatus) -> Result<Option<Peers>, StoreError> {
        // Kept only if it worked: one that broke is made anew.
        let mut db = match self.db.take() {
            Some(db) => db,
            None => store.connect_for_lease().await?,
        };
        let WorkerIdentity { id, life } = self.identity;
        if store.life() != life || db.life() != life {
            return Ok(None);
        }
        let colleagues = workers::renew(&mut db, id, life, LEASE_DURATION, news).await?;
        self.db = Some(db);
        Ok(colleagues)
    }

    /// Which deadlines fall to this process.
    pub(super) fn deadline_share(&self, colleagues: &Peers) -> DeadlineShare {
        let rank = colleagues.alive.iter().position(|worker| *worker == self.identity.id).unwrap_or_default();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        DeadlineShare { rank: number(rank), of: number(colleagues.alive.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_is_too_far_ahead_ends_when_nobody_renewed_it_for_as_long_as_it_holds() {
        let (mut leases, begin) = (FutureLeases::default(), Instant::now());
        let until = |second| DateTime::from_timestamp(second, 0).unwrap();
        let (dead, alive) = (WorkerId(1), WorkerId(2));
        let mut look = |second: i64, after: Duration| {
            leases.find_expired(vec![(dead, until(3600)), (alive, until(3600 + second))], begin + after)
        };
        assert_eq!(look(0, Duration::ZERO), []);
        assert_eq!(look(1, LEASE_DURATION), []);
        assert_eq!(look(2, LEASE_DURATION + RENEWAL_INTERVAL), [dead]);
        // One that is renewed begins anew.
        assert_eq!(leases.find_expired(vec![(dead, until(3601))], begin + 2 * LEASE_DURATION), []);
    }
}

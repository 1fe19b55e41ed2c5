//! The lease of this process as a worker: registration and renewal.
//!
//! Leases are in real time: they concern processes, not the farm. The actions of a crashed process are reclaimed within two
//! seconds: the rest of its lease, and the time until another process checks.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::deadlines::DeadlineShare;
use crate::store::actions::WorkerId;
use crate::store::workers::{self, Peers, WorkerStatus};
use crate::store::{DatabaseLife, DatabaseSession, Store, StoreError};

/// The duration of a lease.
pub(super) const LEASE_DURATION: Duration = Duration::from_millis(1600);
/// The interval of renewals: five of them can fail within a lease.
pub(super) const RENEWAL_INTERVAL: Duration = Duration::from_millis(250);

/// The maximum time for which deadlines are held after a downtime: long enough to report again, and to restart interrupted
/// actions.
const MAX_DEADLINE_HOLD: Duration = Duration::from_mins(5);

/// The identity of a worker. In another life of the database its number can belong to another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WorkerIdentity {
    pub(super) id: WorkerId,
    /// The life of the database in which it is registered.
    pub(super) life: DatabaseLife,
}

/// A registered worker with the end of its lease.
#[derive(Debug)]
pub(super) struct RegisteredWorker {
    pub(super) identity: WorkerIdentity,
    /// For how long it holds deadlines after its registration.
    pub(super) hold_deadlines_for: Duration,
    lease_ends_at: Instant,
    db: Option<DatabaseSession>,
}

/// Leases that end too far in the future for the present clock of the database, each with the time since when
/// it is unchanged. Without this, the lease of a crashed process would last longer after that clock was put
/// back.
#[derive(Debug, Default)]
pub(super) struct FutureLeases(HashMap<WorkerId, (DateTime<Utc>, Instant)>);

impl FutureLeases {
    /// Records the leases that are seen `now`, and returns the workers that have not renewed theirs for the duration of a
    /// lease, by elapsed time.
    fn find_expired(&mut self, leases: Vec<(WorkerId, DateTime<Utc>)>, now: Instant) -> Vec<WorkerId> {
        let before = std::mem::take(&mut self.0);
        self.0.extend(leases.into_iter().map(|(worker, ends_at)| {
            let known = before.get(&worker).filter(|(known, _)| *known == ends_at);
            (worker, (ends_at, known.map_or(now, |(_, since)| *since)))
        }));
        let is_silent = |since: Instant| now.saturating_duration_since(since) > LEASE_DURATION;
        self.0.iter().filter(|(_, (_, since))| is_silent(*since)).map(|(worker, _)| *worker).collect()
    }

    /// Removes expired workers and releases their actions; returns the names of the workers.
    pub(super) async fn reclaim_expired(
        &mut self,
        store: &Store,
        now: DateTime<Utc>,
    ) -> Result<Vec<String>, StoreError> {
        let ahead = workers::list_leases_ahead(store, 2 * LEASE_DURATION).await?;
        let silent = self.find_expired(ahead, Instant::now());
        workers::reclaim_expired(store, &silent, 2 * LEASE_DURATION, now).await
    }
}

/// The result of a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeaseRenewal {
    /// The lease is renewed; these are the live workers.
    Renewed(Peers),
    /// The renewal failed; the lease has not expired yet.
    Failed,
    /// The lease has expired.
    Expired,
}

impl RegisteredWorker {
    /// Registers this process.
    pub(super) async fn register(store: &Store) -> Result<Self, StoreError> {
        // Read first: if the life changes meanwhile, the lease is void and this process registers again.
        let (asked_at, life) = (Instant::now(), store.life());
        let name = format!("pid {}", std::process::id());
        let workers::WorkerRegistration { id, hold_deadlines_for } =
            workers::register(store, &name, LEASE_DURATION, MAX_DEADLINE_HOLD).await?;
        Ok(Self {
            identity: WorkerIdentity { id, life },
            hold_deadlines_for,
            lease_ends_at: asked_at + LEASE_DURATION,
            db: None,
        })
    }

    /// Returns the end of the lease.
    pub(super) fn lease_ends_at(&self) -> Instant {
        self.lease_ends_at
    }

    /// Renews the lease, and publishes the status of this process.
    pub(super) async fn renew(&mut self, store: &Store, status: WorkerStatus) -> LeaseRenewal {
        let asked_at = Instant::now();
        let left = self.lease_ends_at.saturating_duration_since(asked_at);
        #[expect(clippy::disallowed_methods, reason = "a lease is about this process, not about the farm")]
        let renewed = tokio::time::timeout(left, self.renew_row(store, status)).await;
        match renewed {
            Ok(Ok(Some(peers))) => {
                self.lease_ends_at = asked_at + LEASE_DURATION;
                LeaseRenewal::Renewed(peers)
            }
            Ok(Err(_)) if Instant::now() < self.lease_ends_at => LeaseRenewal::Failed,
            Ok(Ok(None) | Err(_)) | Err(_) => LeaseRenewal::Expired,
        }
    }

    async fn renew_row(&mut self, store: &Store, status: WorkerStatus) -> Result<Option<Peers>, StoreError> {
        // Kept only after a success: a broken session is replaced.
        let mut db = match self.db.take() {
            Some(db) => db,
            None => store.connect_for_lease().await?,
        };
        let WorkerIdentity { id, life } = self.identity;
        if store.life() != life || db.life() != life {
            return Ok(None);
        }
        let peers = workers::renew(&mut db, id, life, LEASE_DURATION, status).await?;
        self.db = Some(db);
        Ok(peers)
    }

    /// Returns the share of deadlines of this process.
    pub(super) fn deadline_share(&self, peers: &Peers) -> DeadlineShare {
        let rank = peers.alive.iter().position(|worker| *worker == self.identity.id).unwrap_or_default();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        DeadlineShare { rank: number(rank), of: number(peers.alive.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_too_far_in_the_future_expires_when_it_is_not_renewed_for_its_duration() {
        let (mut leases, begin) = (FutureLeases::default(), Instant::now());
        let time = |second| DateTime::from_timestamp(second, 0).unwrap();
        let (expired, alive) = (WorkerId(1), WorkerId(2));
        let mut check = |second: i64, after: Duration| {
            leases.find_expired(vec![(expired, time(3600)), (alive, time(3600 + second))], begin + after)
        };
        assert_eq!(check(0, Duration::ZERO), []);
        assert_eq!(check(1, LEASE_DURATION), []);
        assert_eq!(check(2, LEASE_DURATION + RENEWAL_INTERVAL), [expired]);
        // A renewed lease starts again.
        assert_eq!(leases.find_expired(vec![(expired, time(3601))], begin + 2 * LEASE_DURATION), []);
    }
}

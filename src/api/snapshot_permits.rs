//! Permits for the few snapshots of the database that there are at once: half of them for one client.

use std::time::Duration;

use super::client::ClientKey;
use super::fair_semaphore::{FairPermit, FairSemaphore};
use super::problem::Problem;
use crate::store::ConnectionBudget;

/// How long a request waits for a snapshot that others have, in real time.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);

/// The permits.
#[derive(Debug)]
pub struct SnapshotPermits(FairSemaphore);

impl SnapshotPermits {
    /// Permits for as many as `connections` has.
    #[must_use]
    pub fn of(connections: ConnectionBudget) -> Self {
        Self(FairSemaphore::new(connections.snapshots.try_into().unwrap_or(usize::MAX)))
    }

    /// Waits for a permit to take a snapshot, but not for long.
    pub(super) async fn acquire(&self, client: ClientKey) -> Result<FairPermit, Problem> {
        self.0.acquire(client, SNAPSHOT_TIMEOUT, "lists").await
    }
}

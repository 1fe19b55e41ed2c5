//! Permits for the few simultaneous snapshots of the database; one client can have half of them.

use std::time::Duration;

use super::client::ClientKey;
use super::fair_semaphore::{FairPermit, FairSemaphore};
use super::problem::Problem;
use crate::store::ConnectionBudget;

/// How long a request waits for a permit, in real time.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);

/// The permits.
#[derive(Debug)]
pub struct SnapshotPermits(FairSemaphore);

impl SnapshotPermits {
    /// As many permits as `connections` has for snapshots.
    #[must_use]
    pub fn of(connections: ConnectionBudget) -> Self {
        Self(FairSemaphore::new(connections.snapshots.try_into().unwrap_or(usize::MAX)))
    }

    /// Waits for a permit, at most for [`SNAPSHOT_TIMEOUT`].
    pub(super) async fn acquire(&self, client: ClientKey) -> Result<FairPermit, Problem> {
        self.0.acquire(client, SNAPSHOT_TIMEOUT, "lists").await
    }
}

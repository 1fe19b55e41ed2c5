//! The life of this process as a worker: it registers and renews its lease.
//!
//! Leases run on real time: they are about processes, not about the farm.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::actions::WorkerId;
use crate::store::workers;
use crate::store::{Store, StoreError};

/// How long a process that says nothing is taken to be alive.
pub(super) const HOLDS: Duration = Duration::from_secs(5);
/// How often a lease is renewed: often enough that three renewals may fail.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// A registered worker that knows until when it may act.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) id: WorkerId,
    holds_until: Instant,
}

impl Registered {
    /// Registers this process.
    pub(super) async fn register(store: &Store) -> Result<Self, StoreError> {
        let asked = Instant::now();
        let id = workers::register(store, &format!("pid {}", std::process::id()), HOLDS).await?;
        Ok(Self { id, holds_until: asked + HOLDS })
    }

    /// Renews the lease; false when it has run out.
    pub(super) async fn renew(&mut self, store: &Store) -> bool {
        let asked = Instant::now();
        let renewal = workers::renew(store, self.id, HOLDS);
        #[expect(clippy::disallowed_methods, reason = "a lease is about this process, not about the farm")]
        let renewed = tokio::time::timeout(self.holds_until.saturating_duration_since(asked), renewal).await;
        match renewed {
            Ok(Ok(true)) => {
                self.holds_until = asked + HOLDS;
                true
            }
            Ok(Err(_)) => Instant::now() < self.holds_until,
            Ok(Ok(false)) | Err(_) => false,
        }
    }
}

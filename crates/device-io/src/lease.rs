//! The lease of this process: until when it may write to devices.
//!
//! The lease uses real time by the kernel's monotonic clock. It runs while the process is stopped (SIGSTOP, a debugger,
//! a paused virtual machine), so a process that resumes too late finds its lease expired.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::sleep_real_time;
use tokio::time::Instant;

/// Deadline until which this process may act; unlimited until it is first set.
///
/// Clones share one lease.
#[derive(Debug, Clone, Default)]
pub struct ProcessLease(Arc<Mutex<Option<Instant>>>);

impl ProcessLease {
    fn deadline(&self) -> MutexGuard<'_, Option<Instant>> {
        // A panic elsewhere cannot leave the value half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the deadline.
    pub fn extend(&self, deadline: Instant) {
        *self.deadline() = Some(deadline);
    }

    /// Whether this process may still act. Drivers check it immediately before each write to a device: after expiry,
    /// another process may hold the device and finish the work there.
    #[must_use]
    pub fn may_act(&self) -> bool {
        self.deadline().is_none_or(|deadline| Instant::now() < deadline)
    }

    /// Returns how long this process may still act; `None` if unlimited.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        (*self.deadline()).map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits until the lease has expired, extensions included.
    pub async fn expired(&self) {
        while let Some(remaining) = self.remaining() {
            if remaining.is_zero() {
                return;
            }
            sleep_real_time(remaining).await;
        }
        // The lease is unlimited. A limit set later takes effect at the next call.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_expired_lease_forbids_acting_and_an_unlimited_one_allows_it() {
        let (lease, shared) = (ProcessLease::default(), ProcessLease::default());
        assert!(lease.may_act());
        let clone = lease.clone();
        lease.extend(Instant::now());
        assert!(!clone.may_act() && shared.may_act());
        lease.extend(Instant::now() + Duration::from_hours(1));
        assert!(clone.may_act());
    }
}

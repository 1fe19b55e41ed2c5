//! The lease of the process that acts: until when it may write to devices.
//!
//! Real time, and the kernel's monotonic clock: it goes on while the process is stopped (SIGSTOP, a debugger, a paused
//! virtual machine), so a process that comes to itself too late finds its lease expired.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::sleep_real_time;
use tokio::time::Instant;

/// Until when this process may act; for ever, where nobody has said.
///
/// Clones share one lease.
#[derive(Debug, Clone, Default)]
pub struct ProcessLease(Arc<Mutex<Option<Instant>>>);

impl ProcessLease {
    fn deadline(&self) -> MutexGuard<'_, Option<Instant>> {
        // A panic elsewhere cannot have left it half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets this process act until then.
    pub fn extend(&self, until: Instant) {
        *self.deadline() = Some(until);
    }

    /// Whether this process may still act. A driver asks immediately before each write to a device: once the lease has
    /// expired, another process may hold the device, and what is left to do there is that one's.
    #[must_use]
    pub fn may_act(&self) -> bool {
        self.deadline().is_none_or(|until| Instant::now() < until)
    }

    /// For how long this process may still act, if that is limited.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        (*self.deadline()).map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Waits until the lease has expired, extensions included.
    pub async fn expired(&self) {
        while let Some(left) = self.remaining() {
            if left.is_zero() {
                return;
            }
            sleep_real_time(left).await;
        }
        // Nobody limited it, and whoever does so begins with the next call.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_lease_that_expired_lets_nobody_act_and_one_that_nobody_limited_always_does() {
        let (lease, shared) = (ProcessLease::default(), ProcessLease::default());
        assert!(lease.may_act());
        let clone = lease.clone();
        lease.extend(Instant::now());
        assert!(!clone.may_act() && shared.may_act());
        lease.extend(Instant::now() + Duration::from_hours(1));
        assert!(clone.may_act());
    }
}

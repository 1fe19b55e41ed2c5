//! Reads how long instances usually stay in each state, rarely.

use std::error::Error;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::dwell_times::{CachedDwellTimes, MachineDwellTimes};
use super::handle::Engine;
use crate::machine::MachineName;
use crate::store::StoreError;
use crate::store::dwell_times;

/// How long what was read is good enough at the least, in real time.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_mins(1);
/// How much longer than a reading took the next one has to wait: reading takes at most a hundredth of a processor.
const READ_PAUSE_FACTOR: u32 = 99;

impl Engine {
    /// The usual times of the states of `machine`; nothing where they cannot be read, for want of time or otherwise.
    ///
    /// Whoever asks first waits until they are read. Whoever asks later is given what there is, while one of them reads
    /// them anew.
    pub(super) async fn dwell_times(&self, machine: &MachineName) -> Option<Arc<MachineDwellTimes>> {
        let usual = self.inner.dwell_times.of(machine);
        let (times, is_good) = usual.get(self.store().life());
        if is_good {
            return times;
        }
        let _one = match times {
            None => usual.read_lock.lock().await,
            Some(times) => match usual.read_lock.try_lock() {
                Ok(one) => one,
                Err(_) => return Some(times),
            },
        };
        // Somebody else may have read them meanwhile.
        let (times, is_good) = usual.get(self.store().life());
        if is_good {
            return times;
        }
        let (begun, life) = (Instant::now(), self.store().life());
        let read = self.read_dwell_times(machine).await;
        let mut kept = usual.cached.write().unwrap_or_else(PoisonError::into_inner);
        if kept.life != life {
            *kept = CachedDwellTimes { life, ..CachedDwellTimes::default() };
        }
        match read {
            Ok(times) => kept.times = Some(Arc::new(times)),
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "usual times cannot be read now");
            }
        }
        kept.next_read_at =
            Some(Instant::now() + (begun.elapsed() * READ_PAUSE_FACTOR).max(MIN_REFRESH_INTERVAL));
        kept.times.clone()
    }

    async fn read_dwell_times(&self, machine: &MachineName) -> Result<MachineDwellTimes, StoreError> {
        let mut snapshot = self.store().snapshot().await?;
        let (window, times) =
            dwell_times::read_dwell_statistics(&mut snapshot, machine, self.clock().now()).await?;
        let by_state = times.into_iter().map(|times| (times.state.clone(), times)).collect();
        Ok(MachineDwellTimes { window, by_state })
    }
}

//! Reads the dwell statistics of states, at long intervals.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::dwell_times::{CachedDwellTimes, MachineDwellTimes};
use super::handle::Engine;
use crate::formatting::with_causes;
use crate::machine::MachineName;
use crate::store::StoreError;
use crate::store::dwell_times;

/// The minimum time between two readings, in real time.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_mins(1);
/// The pause after a reading, as a multiple of its duration: reading takes at most a hundredth of a processor.
const READ_PAUSE_FACTOR: u32 = 99;

impl Engine {
    /// Returns the dwell statistics of the states of `machine`; nothing where they cannot be read.
    ///
    /// The first caller waits until they are read. Later callers get the cached ones, while one of them reads them again.
    pub(super) async fn dwell_times(&self, machine: &MachineName) -> Option<Arc<MachineDwellTimes>> {
        let dwell_times = self.inner.dwell_times.of(machine);
        let (times, is_fresh) = dwell_times.get(self.store().life());
        if is_fresh {
            return times;
        }
        let _guard = match times {
            None => dwell_times.read_lock.lock().await,
            Some(times) => match dwell_times.read_lock.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Some(times),
            },
        };
        // Another caller may have read them meanwhile.
        let (times, is_fresh) = dwell_times.get(self.store().life());
        if is_fresh {
            return times;
        }
        let (started_at, life) = (Instant::now(), self.store().life());
        let read = self.read_dwell_times(machine).await;
        let mut cached = dwell_times.cached.write().unwrap_or_else(PoisonError::into_inner);
        if cached.life != life {
            *cached = CachedDwellTimes { life, ..CachedDwellTimes::default() };
        }
        match read {
            Ok(times) => cached.times = Some(Arc::new(times)),
            Err(error) => {
                tracing::debug!(error = %with_causes(&error), "cannot read dwell statistics");
            }
        }
        cached.next_read_at =
            Some(Instant::now() + (started_at.elapsed() * READ_PAUSE_FACTOR).max(MIN_REFRESH_INTERVAL));
        cached.times.clone()
    }

    async fn read_dwell_times(&self, machine: &MachineName) -> Result<MachineDwellTimes, StoreError> {
        let mut snapshot = self.store().snapshot().await?;
        let (window, times) =
            dwell_times::read_dwell_statistics(&mut snapshot, machine, self.clock().now()).await?;
        let by_state = times.into_iter().map(|times| (times.state.clone(), times)).collect();
        Ok(MachineDwellTimes { window, by_state })
    }
}

//! The cached dwell statistics of states.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crate::machine::MachineName;
use crate::store::DatabaseLife;
use crate::store::dwell_times::{DwellStatistics, SampleWindow};

/// The dwell statistics of the states of a machine.
#[derive(Debug, Clone)]
pub(super) struct MachineDwellTimes {
    /// The sample window in history.
    pub(super) window: SampleWindow,
    /// By state; states without samples are left out.
    pub(super) by_state: BTreeMap<String, DwellStatistics>,
}

/// Cached statistics with the time of their next reading.
#[derive(Debug, Default)]
pub(super) struct CachedDwellTimes {
    /// The life of the database in which they were read.
    pub(super) life: DatabaseLife,
    pub(super) times: Option<Arc<MachineDwellTimes>>,
    pub(super) next_read_at: Option<Instant>,
}

/// The cache of one machine.
#[derive(Debug, Default)]
pub(super) struct DwellTimesCache {
    pub(super) cached: RwLock<CachedDwellTimes>,
    /// One caller reads at a time.
    pub(super) read_lock: tokio::sync::Mutex<()>,
}

impl DwellTimesCache {
    /// Returns the cached statistics, and whether they are fresh.
    pub(super) fn get(&self, life: DatabaseLife) -> (Option<Arc<MachineDwellTimes>>, bool) {
        let read = self.cached.read().unwrap_or_else(PoisonError::into_inner);
        if read.life != life {
            return (None, false);
        }
        (read.times.clone(), read.next_read_at.is_some_and(|at| Instant::now() < at))
    }
}

/// The caches of all machines.
#[derive(Debug, Default)]
pub(super) struct DwellTimesByMachine(std::sync::Mutex<BTreeMap<MachineName, Arc<DwellTimesCache>>>);

impl DwellTimesByMachine {
    /// Returns the cache of `machine`.
    pub(super) fn of(&self, machine: &MachineName) -> Arc<DwellTimesCache> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(machine.clone()).or_default())
    }
}

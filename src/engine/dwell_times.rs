//! How long instances usually stay in each state: what recent history says, read rarely and kept for all who ask.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crate::machine::MachineName;
use crate::store::DatabaseLife;
use crate::store::dwell_times::{DwellStatistics, SampleWindow};

/// The usual times of a machine's states.
#[derive(Debug, Clone)]
pub(super) struct MachineDwellTimes {
    /// Which part of history they are from.
    pub(super) window: SampleWindow,
    /// By state; those that no stay ended in are not there.
    pub(super) by_state: BTreeMap<String, DwellStatistics>,
}

/// What was read, and until when it is good enough.
#[derive(Debug, Default)]
pub(super) struct CachedDwellTimes {
    /// The life of the database that it was read in.
    pub(super) life: DatabaseLife,
    pub(super) times: Option<Arc<MachineDwellTimes>>,
    pub(super) next_read_at: Option<Instant>,
}

/// The usual times of one machine.
#[derive(Debug, Default)]
pub(super) struct DwellTimesCache {
    pub(super) cached: RwLock<CachedDwellTimes>,
    /// One reads at a time.
    pub(super) read_lock: tokio::sync::Mutex<()>,
}

impl DwellTimesCache {
    /// What was read, and whether it is still good enough.
    pub(super) fn get(&self, life: DatabaseLife) -> (Option<Arc<MachineDwellTimes>>, bool) {
        let read = self.cached.read().unwrap_or_else(PoisonError::into_inner);
        if read.life != life {
            return (None, false);
        }
        (read.times.clone(), read.next_read_at.is_some_and(|until| Instant::now() < until))
    }
}

/// The usual times of each machine's states.
#[derive(Debug, Default)]
pub(super) struct DwellTimesByMachine(std::sync::Mutex<BTreeMap<MachineName, Arc<DwellTimesCache>>>);

impl DwellTimesByMachine {
    /// The usual times of `machine`.
    pub(super) fn of(&self, machine: &MachineName) -> Arc<DwellTimesCache> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(machine.clone()).or_default())
    }
}

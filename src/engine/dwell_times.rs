//! How long instances usually stay in each state: what recent history says, read rarely and kept for all who ask.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crate::machine::MachineName;
use crate::store::Life;
use crate::store::stays::{StayTimes, Window};

/// The usual times of a machine's states.
#[derive(Debug, Clone)]
pub(super) struct Times {
    /// Which part of history they are from.
    pub(super) window: Window,
    /// By state; those that no stay ended in are not there.
    pub(super) by_state: BTreeMap<String, StayTimes>,
}

/// What was read, and until when it is good enough.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// The life of the database that it was read in.
    pub(super) life: Life,
    pub(super) times: Option<Arc<Times>>,
    pub(super) rests_until: Option<Instant>,
}

/// The usual times of one machine.
#[derive(Debug, Default)]
pub(super) struct Usual {
    pub(super) read: RwLock<Read>,
    /// One reads at a time.
    pub(super) reading: tokio::sync::Mutex<()>,
}

impl Usual {
    /// What was read, and whether it is still good enough.
    pub(super) fn look(&self, life: Life) -> (Option<Arc<Times>>, bool) {
        let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
        if read.life != life {
            return (None, false);
        }
        (read.times.clone(), read.rests_until.is_some_and(|until| Instant::now() < until))
    }
}

/// The usual times of each machine's states.
#[derive(Debug, Default)]
pub(super) struct ByMachine(std::sync::Mutex<BTreeMap<MachineName, Arc<Usual>>>);

impl ByMachine {
    /// The usual times of `machine`.
    pub(super) fn of(&self, machine: &MachineName) -> Arc<Usual> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(machine.clone()).or_default())
    }
}

//! How long instances usually stay in each state: what recent history says, read rarely and kept for all who ask.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::Engine;
use crate::machine::MachineName;
use crate::store::stays::{self, StayTimes, Window};
use crate::store::{Life, StoreError};

/// How long what was read is good enough at the least, in real time.
const LEAST_REST: Duration = Duration::from_mins(1);
/// How much longer than a reading took the next one has to wait: reading takes at most a hundredth of a processor.
const REST: u32 = 99;

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
struct Read {
    /// The life of the database that it was read in.
    life: Life,
    times: Option<Arc<Times>>,
    rests_until: Option<Instant>,
}

/// The usual times of one machine.
#[derive(Debug, Default)]
struct Usual {
    read: RwLock<Read>,
    /// One reads at a time.
    reading: tokio::sync::Mutex<()>,
}

impl Usual {
    /// What was read, and whether it is still good enough.
    fn look(&self, life: Life) -> (Option<Arc<Times>>, bool) {
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

impl Engine {
    /// The usual times of the states of `machine`; nothing where they cannot be read, for want of time or otherwise.
    ///
    /// Whoever asks first waits until they are read. Whoever asks later is given what there is, while one of them reads
    /// them anew.
    pub(super) async fn usual_times(&self, machine: &MachineName) -> Option<Arc<Times>> {
        let usual = {
            let mut all = self.inner.usual.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(machine.clone()).or_default())
        };
        let (times, is_good) = usual.look(self.store().life());
        if is_good {
            return times;
        }
        let _one = match times {
            None => usual.reading.lock().await,
            Some(times) => match usual.reading.try_lock() {
                Ok(one) => one,
                Err(_) => return Some(times),
            },
        };
        // Somebody else may have read them meanwhile.
        let (times, is_good) = usual.look(self.store().life());
        if is_good {
            return times;
        }
        let (begun, life) = (Instant::now(), self.store().life());
        let read = self.read_times(machine).await;
        let mut kept = usual.read.write().unwrap_or_else(PoisonError::into_inner);
        if kept.life != life {
            *kept = Read { life, ..Read::default() };
        }
        match read {
            Ok(times) => kept.times = Some(Arc::new(times)),
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "usual times cannot be read now");
            }
        }
        kept.rests_until = Some(Instant::now() + (begun.elapsed() * REST).max(LEAST_REST));
        kept.times.clone()
    }

    async fn read_times(&self, machine: &MachineName) -> Result<Times, StoreError> {
        let mut snapshot = self.store().snapshot().await?;
        let (window, times) = stays::read_times(&mut snapshot, machine, self.clock().now()).await?;
        let by_state = times.into_iter().map(|times| (times.state.clone(), times)).collect();
        Ok(Times { window, by_state })
    }
}

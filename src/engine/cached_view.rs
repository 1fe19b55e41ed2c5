//! What was read, kept for as long as nothing changes: what many ask for and takes long to read.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::clock::sleep_real_time;
use crate::machine::MachineName;
use crate::store::changes::{self, ChangeCursor};
use crate::store::{Snapshot, Store, StoreError};

/// How much longer than a reading took the next one has to wait: reading takes at most a tenth of a processor,
/// however many ask and however much changes.
const READ_PAUSE_FACTOR: u32 = 9;

/// What was read, and when.
#[derive(Debug)]
pub struct CachedValue<T> {
    /// What was read.
    pub value: T,
    /// Which changes it has seen.
    pub cursor: ChangeCursor,
    started_at: Instant,
    read_for: Duration,
}

/// A reading that is kept. Whoever asks gets one that is at least as new as the question.
#[derive(Debug)]
pub struct CachedView<T>(Mutex<Option<Arc<CachedValue<T>>>>);

impl<T> Default for CachedView<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> CachedView<T> {
    /// Gives what was read, if nothing changed since, or what `read` reads.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn get(
        &self,
        store: &Store,
        read: impl AsyncFnOnce(&mut Snapshot) -> Result<T, StoreError>,
    ) -> Result<Arc<CachedValue<T>>, StoreError> {
        let asked = Instant::now();
        // Held while it is read: those who ask meanwhile wait, and are given what was begun after they had asked.
        let mut kept = self.0.lock().await;
        if let Some(reading) = &*kept {
            let is_new = reading.started_at > asked
                || changes::is_current(&mut *store.reader().await?, &reading.cursor).await?;
            if is_new {
                return Ok(Arc::clone(reading));
            }
            let rests_until = reading.started_at + reading.read_for * (READ_PAUSE_FACTOR + 1);
            sleep_real_time(rests_until.saturating_duration_since(Instant::now())).await;
        }
        let mut snapshot = store.snapshot().await?;
        let begun = Instant::now();
        let cursor = changes::current_cursor(&mut snapshot).await?;
        let value = read(&mut snapshot).await?;
        let reading = Arc::new(CachedValue { value, cursor, started_at: begun, read_for: begun.elapsed() });
        *kept = Some(Arc::clone(&reading));
        Ok(reading)
    }
}

/// How many instances are in each state.
pub type StateCounts = BTreeMap<String, i64>;

/// The counts of each machine's instances.
#[derive(Debug, Default)]
pub(super) struct StateCountsByMachine(std::sync::Mutex<BTreeMap<MachineName, Arc<CachedView<StateCounts>>>>);

impl StateCountsByMachine {
    pub(super) fn of(&self, machine: &MachineName) -> Arc<CachedView<StateCounts>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(machine.clone()).or_default())
    }
}

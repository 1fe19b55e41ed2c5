//! Cached views: results of expensive readings that are reused until something changes.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::clock::sleep_real_time;
use crate::machine::MachineName;
use crate::store::changes::{self, ChangeCursor};
use crate::store::{Snapshot, Store, StoreError};

/// The pause after a reading, as a multiple of its duration: reading takes at most a tenth of a processor.
const READ_PAUSE_FACTOR: u32 = 9;

/// A value that was read, with the time of its reading.
#[derive(Debug)]
pub struct CachedValue<T> {
    /// The value.
    pub value: T,
    /// The position in the change log at the time of the reading.
    pub cursor: ChangeCursor,
    started_at: Instant,
    read_for: Duration,
}

/// A cached value. Callers get a value that is at least as new as their call.
#[derive(Debug)]
pub struct CachedView<T>(Mutex<Option<Arc<CachedValue<T>>>>);

impl<T> Default for CachedView<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> CachedView<T> {
    /// Returns the cached value if nothing has changed since, or reads it with `read`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails.
    pub async fn get(
        &self,
        store: &Store,
        read: impl AsyncFnOnce(&mut Snapshot) -> Result<T, StoreError>,
    ) -> Result<Arc<CachedValue<T>>, StoreError> {
        let asked_at = Instant::now();
        // Held while it is read: concurrent callers wait, and get a reading that started after their call.
        let mut cached = self.0.lock().await;
        if let Some(reading) = &*cached {
            let is_new = reading.started_at > asked_at
                || changes::is_current(&mut *store.reader().await?, &reading.cursor).await?;
            if is_new {
                return Ok(Arc::clone(reading));
            }
            let paused_until = reading.started_at + reading.read_for * (READ_PAUSE_FACTOR + 1);
            sleep_real_time(paused_until.saturating_duration_since(Instant::now())).await;
        }
        let mut snapshot = store.snapshot().await?;
        let started_at = Instant::now();
        let cursor = changes::current_cursor(&mut snapshot).await?;
        let value = read(&mut snapshot).await?;
        let reading = Arc::new(CachedValue { value, cursor, started_at, read_for: started_at.elapsed() });
        *cached = Some(Arc::clone(&reading));
        Ok(reading)
    }
}

/// The number of instances by state.
pub type StateCounts = BTreeMap<String, i64>;

/// The cached counts of each machine.
#[derive(Debug, Default)]
pub(super) struct StateCountsByMachine(std::sync::Mutex<BTreeMap<MachineName, Arc<CachedView<StateCounts>>>>);

impl StateCountsByMachine {
    pub(super) fn of(&self, machine: &MachineName) -> Arc<CachedView<StateCounts>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(machine.clone()).or_default())
    }
}

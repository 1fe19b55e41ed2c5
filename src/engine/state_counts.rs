//! The number of instances in each state.

use std::sync::Arc;

use super::cached_view::{CachedValue, StateCounts};
use super::error::EngineError;
use super::handle::Engine;
use crate::machine::MachineName;
use crate::store::{Snapshot, instances};

impl Engine {
    /// Counts the instances of `machine` by state.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoMachine`] when there is no active definition; [`EngineError::Store`] when the database fails.
    pub async fn count_by_state(
        &self,
        machine: &MachineName,
    ) -> Result<Arc<CachedValue<StateCounts>>, EngineError> {
        self.definition(machine)?;
        let view = self.inner.state_counts.of(machine);
        let count = async |snapshot: &mut Snapshot| instances::count_by_state(snapshot, machine).await;
        Ok(view.get(self.store(), count).await?)
    }
}

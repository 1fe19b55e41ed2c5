//! The definitions in force, for those who ask the engine.

use std::sync::Arc;

use super::definition_cache::{ActiveDefinition, DefinitionSet};
use super::error::EngineError;
use super::handle::Engine;
use crate::machine::{Definition, MachineName, Vocabulary};
use crate::store::batches::VersionedInstance;
use crate::store::definitions;
use crate::store::{StoreError, Tx};

impl Engine {
    /// What definitions may name.
    #[must_use]
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        self.inner.definitions.vocabulary()
    }

    /// The definition of `machine` that is in force.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoMachine`] when there is none, or none that this program understands.
    pub fn definition(&self, machine: &MachineName) -> Result<Arc<Definition>, EngineError> {
        self.inner.definitions.current().definition(machine).cloned()
    }

    /// The entity tag of an instance as it was read: another one after each change of it, or of its definition.
    #[must_use]
    pub fn tag(&self, seen: &VersionedInstance) -> String {
        self.inner.definitions.current().tag(seen)
    }

    /// The number of the active definition of `machine`, where there is one.
    #[must_use]
    pub fn definition_number(&self, machine: &MachineName) -> Option<i32> {
        self.inner.definitions.current().number(machine)
    }

    /// The definitions that are in force, by machine.
    #[must_use]
    pub fn active_definitions(&self) -> Vec<Arc<ActiveDefinition>> {
        self.inner.definitions.list()
    }

    /// What is in force, and stays so until `tx` ends.
    pub(super) async fn lock_definitions(&self, tx: &mut Tx) -> Result<Arc<DefinitionSet>, StoreError> {
        let adoption = definitions::block_activations(tx).await?;
        let known = self.inner.definitions.current();
        if (known.life, known.activation) != (tx.life(), adoption) {
            self.inner.definitions.refresh(tx.life(), tx).await?;
        }
        Ok(self.inner.definitions.current())
    }

    /// Looks what is in force now.
    pub(super) async fn reload_definitions(&self) -> Result<(), StoreError> {
        let mut db = self.store().reader().await?;
        self.inner.definitions.refresh(db.life(), &mut db).await
    }
}

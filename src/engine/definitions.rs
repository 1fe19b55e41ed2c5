//! Access to the active definitions.

use std::sync::Arc;

use super::definition_cache::{ActiveDefinition, DefinitionSet};
use super::error::EngineError;
use super::handle::Engine;
use crate::machine::{Definition, MachineName, Vocabulary};
use crate::store::batches::VersionedInstance;
use crate::store::definitions;
use crate::store::{StoreError, Tx};

impl Engine {
    /// Returns the names that definitions can use.
    #[must_use]
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        self.inner.definitions.vocabulary()
    }

    /// Returns the active definition of `machine`.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoMachine`] when there is none that this program can parse.
    pub fn definition(&self, machine: &MachineName) -> Result<Arc<Definition>, EngineError> {
        self.inner.definitions.current().definition(machine).cloned()
    }

    /// Returns the entity tag of an instance as it was read. It differs after each change of the instance or its definition.
    #[must_use]
    pub fn tag(&self, versioned: &VersionedInstance) -> String {
        self.inner.definitions.current().tag(versioned)
    }

    /// Returns the number of the active definition of `machine`, where there is one.
    #[must_use]
    pub fn definition_number(&self, machine: &MachineName) -> Option<i32> {
        self.inner.definitions.current().number(machine)
    }

    /// Lists the active definitions, by machine.
    #[must_use]
    pub fn active_definitions(&self) -> Vec<Arc<ActiveDefinition>> {
        self.inner.definitions.list()
    }

    /// Returns the active definitions and blocks activations until `tx` ends.
    pub(super) async fn lock_definitions(&self, tx: &mut Tx) -> Result<Arc<DefinitionSet>, StoreError> {
        let activation = definitions::block_activations(tx).await?;
        let known = self.inner.definitions.current();
        if (known.life, known.activation) != (tx.life(), activation) {
            self.inner.definitions.refresh(tx.life(), tx).await?;
        }
        Ok(self.inner.definitions.current())
    }

    /// Reads the active definitions.
    pub(super) async fn reload_definitions(&self) -> Result<(), StoreError> {
        let mut db = self.store().reader().await?;
        self.inner.definitions.refresh(db.life(), &mut db).await
    }
}

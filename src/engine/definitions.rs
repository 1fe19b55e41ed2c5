//! The definitions in force, for those who ask the engine.

use std::sync::Arc;

use super::error::EngineError;
use super::handle::Engine;
use super::rules::{InForce, Known};
use crate::machine::{Definition, MachineName, Vocabulary};
use crate::store::definitions;
use crate::store::groups::Seen;
use crate::store::{StoreError, Tx};

impl Engine {
    /// What definitions may name.
    #[must_use]
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        self.inner.rules.vocabulary()
    }

    /// The definition of `machine` that is in force.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoMachine`] when there is none, or none that this program understands.
    pub fn definition(&self, machine: &MachineName) -> Result<Arc<Definition>, EngineError> {
        self.inner.rules.known().definition(machine).cloned()
    }

    /// The entity tag of an instance as it was read: another one after each change of it, or of its definition.
    #[must_use]
    pub fn tag(&self, seen: &Seen) -> String {
        self.inner.rules.known().tag(seen)
    }

    /// The definitions that are in force, by machine.
    #[must_use]
    pub fn in_force(&self) -> Vec<Arc<InForce>> {
        self.inner.rules.all()
    }

    /// What is in force, and stays so until `tx` ends.
    pub(super) async fn hold_rules(&self, tx: &mut Tx) -> Result<Arc<Known>, StoreError> {
        let adoption = definitions::hold(tx).await?;
        let known = self.inner.rules.known();
        if (known.life, known.adoption) != (tx.life(), adoption) {
            self.inner.rules.look(tx.life(), tx).await?;
        }
        Ok(self.inner.rules.known())
    }

    /// Looks what is in force now.
    pub(super) async fn look_again(&self) -> Result<(), StoreError> {
        let mut db = self.store().reader().await?;
        self.inner.rules.look(db.life(), &mut db).await
    }
}

//! The definitions in force, and how another one comes into force: for all processes at one moment.
//!
//! What a process knows is from before, so every group is written only if what it was decided under is still in force;
//! otherwise the process looks again and the group is decided anew. Whoever changes it waits until all that is on its way
//! is durable, and lets nothing more through until the instances in flight are carried over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::error::EngineError;
use crate::machine::{self, Definition, MachineName, Vocabulary};
use crate::store::batches::VersionedInstance;
use crate::store::definitions::{self, ActivatedDefinition, ActivationId};
use crate::store::{DatabaseLife, DbConnection, StoreError};

/// A definition in force.
#[derive(Debug, Clone)]
pub struct ActiveDefinition {
    /// Which one it is, and since when.
    pub activated: ActivatedDefinition,
    /// The definition.
    pub definition: Arc<Definition>,
}

/// What this process knows of what is in force.
#[derive(Debug, Default, Clone)]
pub(super) struct DefinitionSet {
    /// In which life of the database it is so.
    pub(super) life: DatabaseLife,
    /// Since when it is so.
    pub(super) activation: ActivationId,
    pub(super) machines: BTreeMap<MachineName, Arc<ActiveDefinition>>,
}

impl DefinitionSet {
    /// The definition of `machine`.
    pub(super) fn definition(&self, machine: &MachineName) -> Result<&Arc<Definition>, EngineError> {
        let in_force = self.machines.get(machine);
        in_force.map(|one| &one.definition).ok_or_else(|| EngineError::NoMachine(machine.clone()))
    }

    /// The number of the definition of `machine`.
    pub(super) fn number(&self, machine: &MachineName) -> Option<i32> {
        self.machines.get(machine).map(|active| active.activated.number)
    }

    /// The tag of an instance as it was read ([`VersionedInstance::entity_tag`]).
    pub(super) fn tag(&self, seen: &VersionedInstance) -> String {
        let in_force = self.machines.get(&seen.instance.machine);
        seen.entity_tag(self.life, in_force.map_or(0, |one| one.activated.number))
    }

    fn has(&self, one: &ActiveDefinition) -> bool {
        self.machines.get(&one.activated.machine).is_some_and(|known| known.activated == one.activated)
    }
}

/// What is in force, as this process knows it.
#[derive(Debug)]
pub(super) struct DefinitionCache {
    /// What definitions may name.
    vocabulary: Arc<Vocabulary>,
    current: RwLock<Arc<DefinitionSet>>,
    /// The last adoption that was heard of, and in which life of the database.
    latest_activation: Mutex<(DatabaseLife, ActivationId)>,
}

impl DefinitionCache {
    /// Nothing is known yet.
    pub(super) fn new(vocabulary: Arc<Vocabulary>) -> Self {
        Self { vocabulary, current: RwLock::default(), latest_activation: Mutex::default() }
    }

    /// What definitions may name.
    pub(super) fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// All that are in force.
    pub(super) fn list(&self) -> Vec<Arc<ActiveDefinition>> {
        self.current().machines.values().cloned().collect()
    }

    /// What is known.
    pub(super) fn current(&self) -> Arc<DefinitionSet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hears which adoption is the last one; true when it is news.
    pub(super) fn note_activation(&self, life: DatabaseLife, adoption: ActivationId) -> bool {
        let is_news = {
            let mut heard = self.latest_activation.lock().unwrap_or_else(PoisonError::into_inner);
            let before = *heard;
            *heard = before.max((life, adoption));
            *heard > before
        };
        is_news && self.is_behind()
    }

    /// Whether something else is in force than is known here.
    pub(super) fn is_behind(&self) -> bool {
        let heard = *self.latest_activation.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.current();
        heard > (known.life, known.activation)
    }

    /// Looks what is in force now, on a connection to this life of the database.
    pub(super) async fn refresh(&self, life: DatabaseLife, db: &mut DbConnection) -> Result<(), StoreError> {
        let now = definitions::read_active(db).await?;
        let before = self.current();
        let mut known = DefinitionSet { life, activation: now.activation, machines: BTreeMap::new() };
        for adopted in now.definitions {
            let machine = adopted.machine.clone();
            let in_force = match before.machines.get(&machine) {
                Some(same) if same.activated == adopted => Some(Arc::clone(same)),
                _ => read(db, &self.vocabulary, adopted).await?.map(Arc::new),
            };
            known.machines.extend(in_force.map(|in_force| (machine, in_force)));
        }
        let mut present = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Another task may have looked later and been faster.
        if (known.life, known.activation) > (present.life, present.activation) {
            for ActiveDefinition { activated: ActivatedDefinition { machine, number, digest, .. }, .. } in
                known.machines.values().map(|one| &**one).filter(|one| !present.has(one))
            {
                tracing::info!(%machine, number, digest, "definition {number} of {machine} is in force");
            }
            *present = Arc::new(known);
        }
        Ok(())
    }
}

/// Reads a definition that is in force; nothing where this program does not understand it.
async fn read(
    db: &mut DbConnection,
    vocabulary: &Vocabulary,
    adopted: ActivatedDefinition,
) -> Result<Option<ActiveDefinition>, StoreError> {
    let ActivatedDefinition { machine, number, .. } = &adopted;
    let source = definitions::read_source(db, machine, *number).await?.unwrap_or_default();
    match machine::load_stored(&source, vocabulary) {
        Ok((definition, faults)) => {
            if let Some(faults) = faults {
                tracing::warn!(
                    %machine,
                    number,
                    %faults,
                    "the definition in force gives actions settings that they do not take; load it anew without them"
                );
            }
            Ok(Some(ActiveDefinition { definition: Arc::new(definition), activated: adopted }))
        }
        Err(faults) => {
            tracing::error!(
                %machine,
                number,
                %faults,
                "the definition in force is none that this program can follow, so it leaves the machine alone"
            );
            Ok(None)
        }
    }
}

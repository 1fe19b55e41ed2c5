//! The cached active definitions.
//!
//! The cache can be outdated, so a batch is written only if the definitions that it was decided under are still active;
//! otherwise the process reads them again and the batch is decided again. An activation waits until all pending batches are
//! durable, and blocks further ones until the instances are migrated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::error::EngineError;
use crate::machine::{self, Definition, MachineName, Vocabulary};
use crate::store::batches::VersionedInstance;
use crate::store::definitions::{self, ActivatedDefinition, ActivationId};
use crate::store::{DatabaseLife, DbConnection, StoreError};

/// An active definition.
#[derive(Debug, Clone)]
pub struct ActiveDefinition {
    /// Its number, its digest and the time of its activation.
    pub activated: ActivatedDefinition,
    /// The parsed definition.
    pub definition: Arc<Definition>,
}

/// The active definitions as this process knows them.
#[derive(Debug, Default, Clone)]
pub(super) struct DefinitionSet {
    /// The life of the database.
    pub(super) life: DatabaseLife,
    /// The last activation.
    pub(super) activation: ActivationId,
    pub(super) machines: BTreeMap<MachineName, Arc<ActiveDefinition>>,
}

impl DefinitionSet {
    /// Finds the definition of `machine`.
    pub(super) fn definition(&self, machine: &MachineName) -> Result<&Arc<Definition>, EngineError> {
        let active = self.machines.get(machine);
        active.map(|active| &active.definition).ok_or_else(|| EngineError::NoMachine(machine.clone()))
    }

    /// Returns the number of the definition of `machine`.
    pub(super) fn number(&self, machine: &MachineName) -> Option<i32> {
        self.machines.get(machine).map(|active| active.activated.number)
    }

    /// Returns the entity tag of an instance as it was read ([`VersionedInstance::entity_tag`]).
    pub(super) fn tag(&self, versioned: &VersionedInstance) -> String {
        let active = self.machines.get(&versioned.instance.machine);
        versioned.entity_tag(self.life, active.map_or(0, |active| active.activated.number))
    }

    fn has(&self, active: &ActiveDefinition) -> bool {
        self.machines.get(&active.activated.machine).is_some_and(|known| known.activated == active.activated)
    }
}

/// The cache of active definitions.
#[derive(Debug)]
pub(super) struct DefinitionCache {
    /// The names that definitions can use.
    vocabulary: Arc<Vocabulary>,
    current: RwLock<Arc<DefinitionSet>>,
    /// The last known activation, with its life of the database.
    latest_activation: Mutex<(DatabaseLife, ActivationId)>,
}

impl DefinitionCache {
    /// An empty cache.
    pub(super) fn new(vocabulary: Arc<Vocabulary>) -> Self {
        Self { vocabulary, current: RwLock::default(), latest_activation: Mutex::default() }
    }

    /// The names that definitions can use.
    pub(super) fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// Lists the active definitions.
    pub(super) fn list(&self) -> Vec<Arc<ActiveDefinition>> {
        self.current().machines.values().cloned().collect()
    }

    /// Returns the cached definitions.
    pub(super) fn current(&self) -> Arc<DefinitionSet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records the last activation; true when the cache is outdated by it.
    pub(super) fn note_activation(&self, life: DatabaseLife, activation: ActivationId) -> bool {
        let is_new = {
            let mut latest = self.latest_activation.lock().unwrap_or_else(PoisonError::into_inner);
            let before = *latest;
            *latest = before.max((life, activation));
            *latest > before
        };
        is_new && self.is_behind()
    }

    /// Whether the cache is outdated.
    pub(super) fn is_behind(&self) -> bool {
        let latest = *self.latest_activation.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.current();
        latest > (known.life, known.activation)
    }

    /// Reads the active definitions, on a connection to this life of the database.
    pub(super) async fn refresh(&self, life: DatabaseLife, db: &mut DbConnection) -> Result<(), StoreError> {
        let now = definitions::read_active(db).await?;
        let before = self.current();
        let mut known = DefinitionSet { life, activation: now.activation, machines: BTreeMap::new() };
        for activated in now.definitions {
            let machine = activated.machine.clone();
            let active = match before.machines.get(&machine) {
                Some(same) if same.activated == activated => Some(Arc::clone(same)),
                _ => read(db, &self.vocabulary, activated).await?.map(Arc::new),
            };
            known.machines.extend(active.map(|active| (machine, active)));
        }
        let mut present = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Another task may have read later and been faster.
        if (known.life, known.activation) > (present.life, present.activation) {
            for ActiveDefinition { activated: ActivatedDefinition { machine, number, digest, .. }, .. } in
                known.machines.values().map(|active| &**active).filter(|active| !present.has(active))
            {
                tracing::info!(%machine, definition = number, digest, "definition activated");
            }
            *present = Arc::new(known);
        }
        Ok(())
    }
}

/// Reads an active definition; nothing where this program cannot parse it.
async fn read(
    db: &mut DbConnection,
    vocabulary: &Vocabulary,
    activated: ActivatedDefinition,
) -> Result<Option<ActiveDefinition>, StoreError> {
    let ActivatedDefinition { machine, number, .. } = &activated;
    let source = definitions::read_source(db, machine, *number).await?.unwrap_or_default();
    match machine::load_stored(&source, vocabulary) {
        Ok((definition, faults)) => {
            if let Some(faults) = faults {
                tracing::warn!(
                    %machine,
                    definition = number,
                    %faults,
                    "active definition has invalid action settings, load it again without them"
                );
            }
            Ok(Some(ActiveDefinition { definition: Arc::new(definition), activated }))
        }
        Err(faults) => {
            tracing::error!(
                %machine,
                definition = number,
                %faults,
                "cannot parse active definition, machine disabled"
            );
            Ok(None)
        }
    }
}

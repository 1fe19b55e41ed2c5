//! The definitions in force, and how another one comes into force: for all processes at one moment.
//!
//! What a process knows is from before, so every group is written only if what it was decided under is still in force;
//! otherwise the process looks again and the group is decided anew. Whoever changes it waits until all that is on its way
//! is durable, and lets nothing more through until the instances in flight are carried over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::error::EngineError;
use crate::machine::{self, Definition, MachineName, Vocabulary};
use crate::store::definitions::{self, Adopted, AdoptionId};
use crate::store::groups::Seen;
use crate::store::{Connection, Life, StoreError};

/// A definition in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// Which one it is, and since when.
    pub adopted: Adopted,
    /// The definition.
    pub definition: Arc<Definition>,
}

/// What this process knows of what is in force.
#[derive(Debug, Default, Clone)]
pub(super) struct Known {
    /// In which life of the database it is so.
    pub(super) life: Life,
    /// Since when it is so.
    pub(super) adoption: AdoptionId,
    pub(super) machines: BTreeMap<MachineName, Arc<InForce>>,
}

impl Known {
    /// The definition of `machine`.
    pub(super) fn definition(&self, machine: &MachineName) -> Result<&Arc<Definition>, EngineError> {
        let in_force = self.machines.get(machine);
        in_force.map(|one| &one.definition).ok_or_else(|| EngineError::NoMachine(machine.clone()))
    }

    /// The tag of an instance as it was read ([`Seen::tag`]).
    pub(super) fn tag(&self, seen: &Seen) -> String {
        let in_force = self.machines.get(&seen.instance.machine);
        seen.tag(self.life, in_force.map_or(0, |one| one.adopted.number))
    }

    fn has(&self, one: &InForce) -> bool {
        self.machines.get(&one.adopted.machine).is_some_and(|known| known.adopted == one.adopted)
    }
}

/// What is in force, as this process knows it.
#[derive(Debug)]
pub(super) struct Rules {
    /// What definitions may name.
    vocabulary: Arc<Vocabulary>,
    known: RwLock<Arc<Known>>,
    /// The last adoption that was heard of, and in which life of the database.
    heard: Mutex<(Life, AdoptionId)>,
}

impl Rules {
    /// Nothing is known yet.
    pub(super) fn new(vocabulary: Arc<Vocabulary>) -> Self {
        Self { vocabulary, known: RwLock::default(), heard: Mutex::default() }
    }

    /// What definitions may name.
    pub(super) fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// All that are in force.
    pub(super) fn all(&self) -> Vec<Arc<InForce>> {
        self.known().machines.values().cloned().collect()
    }

    /// What is known.
    pub(super) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hears which adoption is the last one; true when it is news.
    pub(super) fn hear(&self, life: Life, adoption: AdoptionId) -> bool {
        let is_news = {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let before = *heard;
            *heard = before.max((life, adoption));
            *heard > before
        };
        is_news && self.is_behind()
    }

    /// Whether something else is in force than is known here.
    pub(super) fn is_behind(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known();
        heard > (known.life, known.adoption)
    }

    /// Looks what is in force now, on a connection to this life of the database.
    pub(super) async fn look(&self, life: Life, db: &mut Connection) -> Result<(), StoreError> {
        let now = definitions::read_in_force(db).await?;
        let before = self.known();
        let mut known = Known { life, adoption: now.adoption, machines: BTreeMap::new() };
        for adopted in now.definitions {
            let machine = adopted.machine.clone();
            let in_force = match before.machines.get(&machine) {
                Some(same) if same.adopted == adopted => Some(Arc::clone(same)),
                _ => read(db, &self.vocabulary, adopted).await?.map(Arc::new),
            };
            known.machines.extend(in_force.map(|in_force| (machine, in_force)));
        }
        let mut present = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Another task may have looked later and been faster.
        if (known.life, known.adoption) > (present.life, present.adoption) {
            for InForce { adopted: Adopted { machine, number, digest, .. }, .. } in
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
    db: &mut Connection,
    vocabulary: &Vocabulary,
    adopted: Adopted,
) -> Result<Option<InForce>, StoreError> {
    let Adopted { machine, number, .. } = &adopted;
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
            Ok(Some(InForce { definition: Arc::new(definition), adopted }))
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

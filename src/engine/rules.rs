//! The definitions in force, and how another one comes into force: for all processes at one moment.
//!
//! What a process knows is from before, so every group is written only if what it was decided under is still in force;
//! otherwise the process looks again and the group is decided anew. Whoever changes it waits until all that is on its way
//! is durable, and lets nothing more through until the instances in flight are carried over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Engine, EngineError};
use crate::clock;
use crate::machine::{self, Adoption, Definition, Difference, MachineName, Vocabulary};
use crate::store::changes::Origin;
use crate::store::definitions::{self, Adopted, AdoptionId, Provenance};
use crate::store::groups::Seen;
use crate::store::instances::{self, Stranded};
use crate::store::{Connection, Life, Store, StoreError, Tx};

/// How often it is tried to stop the world before somebody else's write is taken to be too long.
const TRIES: usize = 10;

/// A definition that somebody wants to be in force.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its text.
    pub source: String,
    /// What the check made of it.
    pub definition: Arc<Definition>,
    /// From where it came.
    pub from: Provenance,
}

/// A definition in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// Which one it is, and since when.
    pub adopted: Adopted,
    /// The definition.
    pub definition: Arc<Definition>,
}

/// What putting a definition in force does, or would do.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The machine.
    pub machine: MachineName,
    /// The one that is in force before, if there is one.
    pub was: Option<Adopted>,
    /// The number and the digest of the one that was to be put in force; the number is nothing where it was only tried and
    /// has none yet.
    pub number: Option<i32>,
    /// The SHA-256 of its text.
    pub digest: String,
    /// How it differs from the one before; nothing where there was none, or none that can be read.
    pub difference: Option<Difference>,
    /// How many instances change at once: by their state, what becomes of them.
    pub carried: Vec<CarriedOver>,
    /// The instances that it would strand; where there are any it cannot come into force.
    pub stranded: Vec<Stranded>,
}

/// What becomes of the instances in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedOver {
    /// The state that they are in.
    pub state: String,
    /// What becomes of them.
    pub carried: machine::Carried,
    /// How many they are.
    pub instances: i64,
}

/// What this process knows of what is in force.
#[derive(Debug, Default, Clone)]
pub(super) struct Known {
    /// In which life of the database it is so.
    pub(super) life: Life,
    /// Since when it is so.
    pub(super) adoption: AdoptionId,
    machines: BTreeMap<MachineName, Arc<InForce>>,
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

/// How a definition comes into force.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adopting<'a> {
    pub(super) vocabulary: &'a Arc<Vocabulary>,
    /// By what this process knows its own changes in the log.
    pub(super) origin: Origin,
    /// Who wants it, as far as is known.
    pub(super) sender: Option<&'a str>,
    pub(super) now: DateTime<Utc>,
}

impl Rules {
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

impl Engine {
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
        self.inner.rules.known().machines.values().cloned().collect()
    }

    /// Puts a definition in force, for all processes at one moment: what is durable before was decided under the old one,
    /// everything else is decided under the new one. Instances in flight go on in the same visit.
    ///
    /// # Errors
    ///
    /// [`EngineError::Strands`] when instances are in states that it does not have; [`EngineError::Busy`] when something
    /// that is being written does not end; [`EngineError::Store`] when the database fails. Nothing was changed then.
    pub async fn adopt(&self, loaded: &Loaded, sender: Option<&str>) -> Result<Replacement, EngineError> {
        let (vocabulary, now) = (&self.inner.rules.vocabulary, self.clock().now());
        let adopting = Adopting { vocabulary, origin: self.inner.origin, sender, now };
        let replacement = put_in_force(self.store(), loaded, adopting).await?;
        self.inner.actions_changed.notify_one();
        self.inner.written.notify_one();
        self.inner.feed.wake_for_own();
        // It is in force, whether this process can see that yet or not; whoever decides looks by itself.
        if let Err(error) = self.look_again().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "cannot see what is in force yet");
        }
        Ok(replacement)
    }

    /// Says what putting a definition in force would do, and does nothing.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn try_out(&self, loaded: &Loaded) -> Result<Replacement, EngineError> {
        let vocabulary = &self.inner.rules.vocabulary;
        Ok(compare(&mut *self.store().reader().await?, vocabulary, loaded).await?.0)
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

/// Puts the definitions that a server was given in force, where others are.
pub(super) async fn begin(
    store: &Store,
    loaded: &[Loaded],
    adopting: Adopting<'_>,
) -> Result<Rules, EngineError> {
    let present = definitions::read_in_force(&mut *store.reader().await?).await?;
    for loaded in loaded {
        let is_ours = |one: &&Adopted| one.machine == loaded.definition.machine;
        let in_force = present.definitions.iter().find(is_ours);
        // What comes with the program gives way to what people chose.
        let gives_way = in_force.is_some_and(|one| one.origin != Provenance::BuiltIn.as_str());
        if loaded.from != Provenance::BuiltIn || !gives_way {
            put_in_force(store, loaded, adopting).await?;
        }
    }
    let vocabulary = Arc::clone(adopting.vocabulary);
    let rules = Rules { vocabulary, known: RwLock::default(), heard: Mutex::default() };
    let mut db = store.reader().await?;
    rules.look(db.life(), &mut db).await?;
    Ok(rules)
}

async fn put_in_force(
    store: &Store,
    loaded: &Loaded,
    adopting: Adopting<'_>,
) -> Result<Replacement, EngineError> {
    for _ in 0..TRIES {
        match replace(store, loaded, adopting).await {
            // Whoever writes just then ends soon; and meanwhile the others come to their turn.
            Err(EngineError::Store(StoreError::Locked(_))) => clock::pause(Duration::from_millis(100)).await,
            result => return result,
        }
    }
    Err(EngineError::Busy)
}

async fn replace(store: &Store, loaded: &Loaded, adopting: Adopting<'_>) -> Result<Replacement, EngineError> {
    let Adopting { vocabulary, origin, sender, now } = adopting;
    let mut tx = store.begin().await?;
    definitions::stop_the_world(&mut tx).await?;
    let (mut replacement, adoption) = compare(&mut tx, vocabulary, loaded).await?;
    let Replacement { machine, was, digest, stranded, .. } = &replacement;
    if let Some(was) = was.as_ref().filter(|was| was.digest == *digest) {
        replacement.number = Some(was.number);
        return Ok(replacement);
    }
    if !stranded.is_empty() {
        return Err(EngineError::Strands { machine: machine.clone(), stranded: stranded.clone() });
    }
    let number = definitions::adopt(&mut tx, machine, &loaded.source, loaded.from, sender, now).await?;
    definitions::carry_over(&mut tx, machine, number, &adoption, origin, sender, now).await?;
    tx.commit().await?;
    replacement.number = Some(number);
    Ok(replacement)
}

/// Says what putting `loaded` in force does as things stand.
async fn compare(
    db: &mut Connection,
    vocabulary: &Vocabulary,
    loaded: &Loaded,
) -> Result<(Replacement, Adoption), EngineError> {
    let Loaded { source, definition, from: _ } = loaded;
    let machine = definition.machine.clone();
    let was =
        definitions::read_in_force(db).await?.definitions.into_iter().find(|one| one.machine == machine);
    let before = match &was {
        Some(was) => definitions::read_source(db, &machine, was.number).await?,
        None => None,
    };
    // One that this program does not understand any more can still be replaced.
    let before = before.and_then(|source| machine::load_stored(&source, vocabulary).ok());
    let before = before.map(|(before, _)| before);
    let adoption = Adoption::new(before.as_ref(), definition);
    let states: Vec<String> = adoption.states.keys().map(ToString::to_string).collect();
    let stranded = instances::list_stranded(db, &machine, &states).await?;
    let counts = instances::count_by_state(db, &machine).await?;
    let carried = adoption
        .changed()
        .filter_map(|(state, carried)| {
            let instances = *counts.get(state.as_str())?;
            Some(CarriedOver { state: state.to_string(), carried: carried.clone(), instances })
        })
        .collect();
    let digest = definitions::digest(db, source).await?;
    let difference = before.map(|before| Difference::new(&before, definition));
    Ok((Replacement { machine, was, number: None, digest, difference, carried, stranded }, adoption))
}

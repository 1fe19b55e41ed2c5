//! A definition comes into force: for all processes at one moment.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::definition_cache::DefinitionCache;
use super::error::EngineError;
use super::handle::Engine;
use super::link_check;
use crate::activation::{self, Activation, Difference};
use crate::clock;
use crate::machine::{self, Definition, MachineName, Vocabulary};
use crate::store::changes::ChangeOrigin;
use crate::store::definitions::{self, ActivatedDefinition, DefinitionOrigin};
use crate::store::instances::{self, StrandedInstance};
use crate::store::{DbConnection, Store, StoreError};

/// How often it is tried to stop the world before somebody else's write is taken to be too long.
const MAX_ACTIVATION_TRIES: usize = 10;

/// A definition that somebody wants to be in force.
#[derive(Debug, Clone)]
pub struct LoadedDefinition {
    /// Its text.
    pub source: String,
    /// What the check made of it.
    pub definition: Arc<Definition>,
    /// From where it came.
    pub provenance: DefinitionOrigin,
}

/// What putting a definition in force does, or would do.
#[derive(Debug, Clone)]
pub struct ActivationReport {
    /// The machine.
    pub machine: MachineName,
    /// The one that is in force before, if there is one.
    pub previous: Option<ActivatedDefinition>,
    /// The number and the digest of the one that was to be put in force; the number is nothing where it was only tried and
    /// has none yet.
    pub number: Option<i32>,
    /// The SHA-256 of its text.
    pub digest: String,
    /// How it differs from the one before; nothing where there was none, or none that can be read.
    pub difference: Option<Difference>,
    /// How many instances change at once: by their state, what becomes of them.
    pub carried_over: Vec<CarriedOverInstances>,
    /// The instances that it would strand; where there are any it cannot come into force.
    pub stranded: Vec<StrandedInstance>,
}

/// What becomes of the instances in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedOverInstances {
    /// The state that they are in.
    pub state: String,
    /// What becomes of them.
    pub carried: activation::StateActivation,
    /// How many they are.
    pub instances: i64,
}

/// How a definition comes into force.
#[derive(Debug, Clone, Copy)]
pub(super) struct ActivationContext<'a> {
    pub(super) vocabulary: &'a Arc<Vocabulary>,
    /// By what this process knows its own changes in the log.
    pub(super) origin: ChangeOrigin,
    /// What comes into force with it.
    pub(super) loaded_together: &'a [Arc<Definition>],
    /// Who wants it, as far as is known.
    pub(super) sender: Option<&'a str>,
    pub(super) now: DateTime<Utc>,
}

impl Engine {
    /// Puts a definition in force, for all processes at one moment: what is durable before was decided under the old one,
    /// everything else is decided under the new one. Instances in flight go on in the same visit.
    ///
    /// # Errors
    ///
    /// [`EngineError::StrandsInstances`] when instances are in states that it does not have; [`EngineError::Links`] when it does not go
    /// with those of other machines; [`EngineError::Busy`] when something that is being written does not end;
    /// [`EngineError::Store`] when the database fails. Nothing was changed then.
    pub async fn activate(
        &self,
        loaded: &LoadedDefinition,
        sender: Option<&str>,
    ) -> Result<ActivationReport, EngineError> {
        let (vocabulary, now) = (self.inner.definitions.vocabulary(), self.clock().now());
        let adopting =
            ActivationContext { vocabulary, origin: self.inner.origin, loaded_together: &[], sender, now };
        let replacement = activate_with_retries(self.store(), loaded, adopting).await?;
        self.inner.actions_changed.notify_one();
        self.inner.written.notify_one();
        self.inner.feed.wake_for_own();
        // It is in force, whether this process can see that yet or not; whoever decides looks by itself.
        if let Err(error) = self.reload_definitions().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "cannot see what is in force yet");
        }
        Ok(replacement)
    }

    /// Says what putting a definition in force would do, and does nothing.
    ///
    /// # Errors
    ///
    /// [`EngineError::Links`] when it does not go with those of other machines; [`EngineError::Store`] when the database
    /// fails.
    pub async fn preview_activation(
        &self,
        loaded: &LoadedDefinition,
    ) -> Result<ActivationReport, EngineError> {
        let vocabulary = self.inner.definitions.vocabulary();
        let mut db = self.store().reader().await?;
        link_check::check(&mut db, vocabulary, &loaded.definition, &[]).await?;
        Ok(preview(&mut db, vocabulary, loaded).await?.0)
    }
}

/// Puts the definitions that a server was given in force, where others are.
pub(super) async fn activate_at_start(
    store: &Store,
    loaded: &[LoadedDefinition],
    adopting: ActivationContext<'_>,
) -> Result<DefinitionCache, EngineError> {
    let present = definitions::read_active(&mut *store.reader().await?).await?;
    let comes = |loaded: &&LoadedDefinition| {
        let is_ours = |one: &&ActivatedDefinition| one.machine == loaded.definition.machine;
        let in_force = present.definitions.iter().find(is_ours);
        // What comes with the program gives way to what people chose.
        let gives_way = in_force.is_some_and(|one| one.origin != DefinitionOrigin::BuiltIn.as_str());
        loaded.provenance != DefinitionOrigin::BuiltIn || !gives_way
    };
    let all: Vec<_> = loaded.iter().filter(comes).map(|one| Arc::clone(&one.definition)).collect();
    for loaded in loaded.iter().filter(comes) {
        activate_with_retries(store, loaded, ActivationContext { loaded_together: &all, ..adopting }).await?;
    }
    let rules = DefinitionCache::new(Arc::clone(adopting.vocabulary));
    let mut db = store.reader().await?;
    rules.refresh(db.life(), &mut db).await?;
    Ok(rules)
}

async fn activate_with_retries(
    store: &Store,
    loaded: &LoadedDefinition,
    adopting: ActivationContext<'_>,
) -> Result<ActivationReport, EngineError> {
    for _ in 0..MAX_ACTIVATION_TRIES {
        match activate_once(store, loaded, adopting).await {
            // Whoever writes just then ends soon; and meanwhile the others come to their turn.
            Err(EngineError::Store(StoreError::Locked(_))) => {
                clock::sleep_real_time(Duration::from_millis(100)).await
            }
            result => return result,
        }
    }
    Err(EngineError::Busy)
}

async fn activate_once(
    store: &Store,
    loaded: &LoadedDefinition,
    adopting: ActivationContext<'_>,
) -> Result<ActivationReport, EngineError> {
    let ActivationContext { vocabulary, origin, loaded_together: beside, sender, now } = adopting;
    let mut tx = store.begin().await?;
    definitions::block_decisions(&mut tx).await?;
    let (mut replacement, adoption) = preview(&mut tx, vocabulary, loaded).await?;
    let ActivationReport { machine, previous: was, digest, stranded, .. } = &replacement;
    if let Some(was) = was.as_ref().filter(|was| was.digest == *digest) {
        replacement.number = Some(was.number);
        return Ok(replacement);
    }
    if !stranded.is_empty() {
        return Err(EngineError::StrandsInstances { machine: machine.clone(), stranded: stranded.clone() });
    }
    link_check::check(&mut tx, vocabulary, &loaded.definition, beside).await?;
    let number =
        definitions::activate(&mut tx, machine, &loaded.source, loaded.provenance, sender, now).await?;
    definitions::migrate_instances(&mut tx, machine, number, &adoption, origin, sender, now).await?;
    tx.commit().await?;
    replacement.number = Some(number);
    Ok(replacement)
}

/// Says what putting `loaded` in force does as things stand.
async fn preview(
    db: &mut DbConnection,
    vocabulary: &Vocabulary,
    loaded: &LoadedDefinition,
) -> Result<(ActivationReport, Activation), EngineError> {
    let LoadedDefinition { source, definition, provenance: _ } = loaded;
    let machine = definition.machine.clone();
    let was = definitions::read_active(db).await?.definitions.into_iter().find(|one| one.machine == machine);
    let before = match &was {
        Some(was) => definitions::read_source(db, &machine, was.number).await?,
        None => None,
    };
    // One that this program does not understand any more can still be replaced.
    let before = before.and_then(|source| machine::load_stored(&source, vocabulary).ok());
    let before = before.map(|(before, _)| before);
    let adoption = Activation::new(before.as_ref(), definition);
    let states: Vec<String> = adoption.states.keys().map(ToString::to_string).collect();
    let stranded = instances::list_stranded(db, &machine, &states).await?;
    let counts = instances::count_by_state(db, &machine).await?;
    let carried = adoption
        .changed()
        .filter_map(|(state, carried)| {
            let instances = *counts.get(state.as_str())?;
            Some(CarriedOverInstances { state: state.to_string(), carried: carried.clone(), instances })
        })
        .collect();
    let digest = definitions::digest(db, source).await?;
    let difference = before.map(|before| Difference::new(&before, definition));
    Ok((
        ActivationReport {
            machine,
            previous: was,
            number: None,
            digest,
            difference,
            carried_over: carried,
            stranded,
        },
        adoption,
    ))
}

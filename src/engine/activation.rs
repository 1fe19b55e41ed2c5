//! Activation of a definition: for all processes at one moment.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::definition_cache::DefinitionCache;
use super::error::EngineError;
use super::handle::Engine;
use super::{incidents, link_check};
use crate::activation::{self, Activation, Difference};
use crate::clock;
use crate::formatting::with_causes;
use crate::machine::{self, Definition, MachineName, Vocabulary};
use crate::store::changes::ChangeOrigin;
use crate::store::definitions::{self, ActivatedDefinition, DefinitionOrigin};
use crate::store::instances::{self, StrandedInstance};
use crate::store::{DbConnection, Store, StoreError, resources};

/// How often an activation is tried while another transaction keeps its locks.
const MAX_ACTIVATION_TRIES: usize = 10;

/// A definition that is to be activated.
#[derive(Debug, Clone)]
pub struct LoadedDefinition {
    /// Its source text.
    pub source: String,
    /// The parsed definition.
    pub definition: Arc<Definition>,
    /// Its origin.
    pub provenance: DefinitionOrigin,
}

/// The result of an activation, or of its preview.
#[derive(Debug, Clone)]
pub struct ActivationReport {
    /// The machine.
    pub machine: MachineName,
    /// The previously active definition, if there is one.
    pub previous: Option<ActivatedDefinition>,
    /// The number of the definition; nothing in a preview of a new definition.
    pub number: Option<i32>,
    /// The SHA-256 of its source text.
    pub digest: String,
    /// Its differences from the previous definition; nothing where there is none that can be parsed.
    pub difference: Option<Difference>,
    /// The instances that are migrated, by state.
    pub carried_over: Vec<CarriedOverInstances>,
    /// The instances that it would strand; where there are any it cannot be activated.
    pub stranded: Vec<StrandedInstance>,
}

/// The migration of the instances in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedOverInstances {
    /// Their state.
    pub state: String,
    /// How they are migrated.
    pub carried: activation::StateActivation,
    /// Their number.
    pub instances: i64,
}

/// The inputs of an activation.
#[derive(Debug, Clone, Copy)]
pub(super) struct ActivationContext<'a> {
    pub(super) vocabulary: &'a Arc<Vocabulary>,
    /// The origin of the changes of this process in the change log.
    pub(super) origin: ChangeOrigin,
    /// The definitions that are activated together with it.
    pub(super) loaded_together: &'a [Arc<Definition>],
    /// The sender, where it is known.
    pub(super) sender: Option<&'a str>,
    pub(super) now: DateTime<Utc>,
}

impl Engine {
    /// Activates a definition for all processes at one moment: every decision is durable before it under the old definition,
    /// or is made under the new one. Instances continue in the same visit.
    ///
    /// # Errors
    ///
    /// [`EngineError::StrandsInstances`] when instances are in states that it does not have;
    /// [`EngineError::MismatchedLinks`] when it does not match the definitions of other machines; [`EngineError::Busy`] when
    /// other transactions keep their locks; [`EngineError::Store`] when the database fails. Nothing was changed then.
    pub async fn activate(
        &self,
        loaded: &LoadedDefinition,
        sender: Option<&str>,
    ) -> Result<ActivationReport, EngineError> {
        let (vocabulary, now) = (self.inner.definitions.vocabulary(), self.clock().now());
        let context =
            ActivationContext { vocabulary, origin: self.inner.origin, loaded_together: &[], sender, now };
        let report = activate_with_retries(self.store(), loaded, context).await?;
        self.inner.actions_changed.notify_one();
        self.inner.written.notify_one();
        self.inner.feed.wake_for_own();
        // The activation is durable; the pipeline reads the definition by itself if this fails.
        if let Err(error) = self.reload_definitions().await {
            tracing::debug!(error = %with_causes(&error), "cannot read active definitions");
        }
        Ok(report)
    }

    /// Previews the activation of a definition; nothing is changed.
    ///
    /// # Errors
    ///
    /// [`EngineError::MismatchedLinks`] when it does not match the definitions of other machines; [`EngineError::Store`] when
    /// the database fails.
    pub async fn preview_activation(
        &self,
        loaded: &LoadedDefinition,
    ) -> Result<ActivationReport, EngineError> {
        let vocabulary = self.inner.definitions.vocabulary();
        let mut db = self.store().reader().await?;
        incidents::check_definition(&loaded.definition)?;
        link_check::check(&mut db, vocabulary, &loaded.definition, &[]).await?;
        Ok(preview(&mut db, vocabulary, loaded).await?.0)
    }
}

/// Activates the definitions of the command line at the start of a server, where other ones are active.
pub(super) async fn activate_at_start(
    store: &Store,
    loaded: &[LoadedDefinition],
    context: ActivationContext<'_>,
) -> Result<DefinitionCache, EngineError> {
    let mut db = store.reader().await?;
    let present = definitions::read_active(&mut db).await?;
    let active_of = |loaded: &LoadedDefinition| {
        present.definitions.iter().find(|active| active.machine == loaded.definition.machine)
    };
    // A built-in definition does not replace one that an operator loaded.
    let is_customized = |loaded: &&LoadedDefinition| {
        loaded.provenance == DefinitionOrigin::BuiltIn
            && active_of(loaded).is_some_and(|active| active.origin != DefinitionOrigin::BuiltIn.as_str())
    };
    let (mut all, mut new) = (Vec::new(), Vec::new());
    for loaded in loaded.iter().filter(|loaded| !is_customized(loaded)) {
        all.push(Arc::clone(&loaded.definition));
        // Most servers start with what is active already: nothing is locked for that.
        let digest = definitions::digest(&mut db, &loaded.source).await?;
        if active_of(loaded).is_none_or(|active| active.digest != digest) {
            new.push(loaded);
        }
    }
    drop(db);
    for loaded in new {
        activate_with_retries(store, loaded, ActivationContext { loaded_together: &all, ..context }).await?;
    }
    let definitions = DefinitionCache::new(Arc::clone(context.vocabulary));
    let mut db = store.reader().await?;
    definitions.refresh(db.life(), &mut db).await?;
    Ok(definitions)
}

async fn activate_with_retries(
    store: &Store,
    loaded: &LoadedDefinition,
    context: ActivationContext<'_>,
) -> Result<ActivationReport, EngineError> {
    for _ in 0..MAX_ACTIVATION_TRIES {
        match activate_once(store, loaded, context).await {
            // Writers end soon, and others get their locks meanwhile.
            Err(EngineError::Store(StoreError::Locked(_))) => {
                clock::sleep_real_time(Duration::from_millis(100)).await;
            }
            result => return result,
        }
    }
    Err(EngineError::Busy)
}

async fn activate_once(
    store: &Store,
    loaded: &LoadedDefinition,
    context: ActivationContext<'_>,
) -> Result<ActivationReport, EngineError> {
    let ActivationContext { vocabulary, origin, loaded_together, sender, now } = context;
    let mut tx = store.begin().await?;
    definitions::block_decisions(&mut tx).await?;
    let (mut report, activation) = preview(&mut tx, vocabulary, loaded).await?;
    let ActivationReport { machine, previous, digest, stranded, .. } = &report;
    if let Some(previous) = previous.as_ref().filter(|previous| previous.digest == *digest) {
        report.number = Some(previous.number);
        return Ok(report);
    }
    if !stranded.is_empty() {
        return Err(EngineError::StrandsInstances { machine: machine.clone(), stranded: stranded.clone() });
    }
    incidents::check_definition(&loaded.definition)?;
    link_check::check(&mut tx, vocabulary, &loaded.definition, loaded_together).await?;
    let number =
        definitions::activate(&mut tx, machine, &loaded.source, loaded.provenance, sender, now).await?;
    // An earlier definition may have limited them. If another active one does, its next claim declares its limits again.
    let unlimited = loaded.definition.resources.iter().filter(|(_, declared)| !declared.is_limited());
    let unlimited: Vec<String> = unlimited.map(|(name, _)| name.to_string()).collect();
    resources::forget_declared_limits(&mut tx, &unlimited).await?;
    definitions::migrate_instances(&mut tx, machine, number, &activation, origin, sender, now).await?;
    tx.commit().await?;
    for CarriedOverInstances { state: from, carried, instances } in &report.carried_over {
        let to = &carried.to;
        if to.as_str() != from {
            tracing::info!(machine = %report.machine, definition = number, %from, %to, instances, "state renamed");
        }
    }
    report.number = Some(number);
    Ok(report)
}

/// Previews the activation of `loaded`.
async fn preview(
    db: &mut DbConnection,
    vocabulary: &Vocabulary,
    loaded: &LoadedDefinition,
) -> Result<(ActivationReport, Activation), EngineError> {
    let LoadedDefinition { source, definition, provenance: _ } = loaded;
    let machine = definition.machine.clone();
    let previous =
        definitions::read_active(db).await?.definitions.into_iter().find(|active| active.machine == machine);
    let before = match &previous {
        Some(previous) => definitions::read_source(db, &machine, previous.number).await?,
        None => None,
    };
    // A definition that this program can no longer parse can still be replaced.
    let before = before.and_then(|source| machine::load_stored(&source, vocabulary).ok());
    let before = before.map(|(before, _)| before);
    let activation = Activation::new(before.as_ref(), definition);
    let states: Vec<String> = activation.states.keys().map(ToString::to_string).collect();
    let stranded = instances::list_stranded(db, &machine, &states).await?;
    let counts = instances::count_by_state(db, &machine).await?;
    let carried = activation
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
            previous,
            number: None,
            digest,
            difference,
            carried_over: carried,
            stranded,
        },
        activation,
    ))
}

//! What a face adds to the engine: what is known, from outside, of the things that its instances stand for.
//!
//! The engine knows instances and nothing of what they are. Guards read facts and actions need them; a face reads them from
//! its own tables, over the connection and in the moment in which the engine reads the instances. The facts of an instance
//! are kept with its row, so a face that changes them does so by [`change_facts`](crate::engine::Engine::change_facts), or rewrites the row itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::error::EngineError;
use super::refusal::FaceRefusal;
use crate::machine::{Instance, MachineName};
use crate::store::batches::VersionedInstance;
use crate::store::claims::Claim;
use crate::store::instances::{InstanceId, LockedInstance};
use crate::store::{DbConnection, InstanceFacts, SharedFacts, Store, StoreError, Tx};

/// Knows the things that the instances of a machine stand for.
#[async_trait]
pub trait Face: Send + Sync + 'static {
    /// By which its facts are told from those of other faces.
    fn name(&self) -> &'static str;

    /// Whether the instances of `machine` are its own.
    fn is_face_of(&self, machine: &MachineName) -> bool;

    /// Reads what is known of those of its instances that it knows, in one statement.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    async fn read_facts(
        &self,
        db: &mut DbConnection,
        ids: &[InstanceId],
    ) -> Result<Vec<(InstanceId, Arc<dyn InstanceFacts>)>, StoreError>;

    /// Reads what its instances have in common, in one statement: for guards that read facts, and for actions that
    /// [work with it](Self::is_shared_fact).
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    async fn read_shared(&self, _db: &mut DbConnection) -> Result<SharedFacts, StoreError> {
        Ok(SharedFacts::new())
    }

    /// Whether the fact `fact`, which actions work with, comes from what instances have in common.
    fn is_shared_fact(&self, _fact: &str) -> bool {
        false
    }

    /// Says what is known of instances that were silent until their time passed, for history.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a statement fails.
    async fn read_silence(
        &self,
        _db: &mut DbConnection,
        _silent: &[InstanceId],
        _now: DateTime<Utc>,
    ) -> Result<BTreeMap<InstanceId, String>, StoreError> {
        Ok(BTreeMap::new())
    }

    /// Says what is known of an instance to whoever asks why it stands where it stands.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a statement fails.
    async fn summarize(
        &self,
        _db: &mut DbConnection,
        _id: InstanceId,
        _instance: &Instance,
        _now: DateTime<Utc>,
    ) -> Result<FaceSummary, StoreError> {
        Ok(FaceSummary::default())
    }

    /// Writes down facts that actions found out, where they are news; gives the instances whose facts changed, and has
    /// rewritten their rows.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a statement fails.
    async fn record_facts(
        &self,
        _db: &mut DbConnection,
        _learned: &[LearnedFact<'_>],
    ) -> Result<Vec<InstanceId>, StoreError> {
        Ok(Vec::new())
    }

    /// The selectors that it registers, by which definitions mean any of the resources that it knows.
    fn selectors(&self) -> &[&str] {
        &[]
    }

    /// Says which resources a selector means now for an instance that wants one of them; the first that is free is taken.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a statement fails.
    async fn select(
        &self,
        _db: &mut DbConnection,
        _selector: &str,
        _of: InstanceId,
    ) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// Says why an instance cannot be removed now, if that is so.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a statement fails.
    async fn refuse_removal(
        &self,
        _db: &mut DbConnection,
        _removal: InstanceRemoval<'_>,
    ) -> Result<Option<FaceRefusal>, StoreError> {
        Ok(None)
    }

    /// Does what is to be done once as the engine begins to run.
    async fn start(&self, _store: &Store) {}
}

/// An instance that is to be removed.
#[derive(Debug, Clone, Copy)]
pub struct InstanceRemoval<'a> {
    /// Its number.
    pub id: InstanceId,
    /// The instance.
    pub instance: &'a Instance,
    /// Whether an action that was begun and not seen to end is still to be made up for.
    pub is_compensation_owed: bool,
}

/// A fact that an action found out.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnedFact<'a> {
    /// Of which instance.
    pub instance: InstanceId,
    /// By which name actions know it.
    pub name: &'a str,
    /// What it is.
    pub value: &'a Value,
}

/// What a face knows of one instance, for people.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FaceSummary {
    /// What guards may read.
    pub facts: Map<String, Value>,
    /// What actions get; nobody is shown it.
    pub action_facts: Map<String, Value>,
    /// What is told beside all else, by name.
    pub details: Map<String, Value>,
    /// How far it got with what its state waits for, in a sentence, which is told while it works on that.
    pub progress: Option<String>,
}

/// What is known of a thing that comes to be with its instance.
#[async_trait]
pub trait NewFacts: Send + Sync {
    /// Writes it down for the new instance.
    ///
    /// # Errors
    ///
    /// [`EngineError::QueueRefusal`], [`EngineError::Store`]: then the instance does not come to be either.
    async fn insert(
        &self,
        tx: &mut Tx,
        id: InstanceId,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn InstanceFacts>, EngineError>;
}

/// A change of what is known of a thing.
#[async_trait]
pub trait FactChange: Send + Sync {
    /// Writes it down for the instance, which is locked; nothing where it changes nothing.
    ///
    /// # Errors
    ///
    /// [`EngineError::QueueRefusal`], [`EngineError::Store`]: then nothing is changed.
    async fn apply(&self, tx: &mut Tx, locked: &LockedInstance) -> Result<Option<ChangedFacts>, EngineError>;
}

/// What became of facts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChangedFacts {
    /// The facts that are not what they were, with what they are now: for history.
    pub changed: Map<String, Value>,
    /// What those actions claim from now on that wait for a resource, where it is something else.
    pub claims: Option<Vec<Claim>>,
}

/// The faces of an engine.
#[derive(Clone, Default)]
pub struct Faces(Vec<Arc<dyn Face>>);

/// What instances have in common, by face.
#[derive(Debug, Default)]
pub(super) struct SharedFactsByFace(BTreeMap<&'static str, SharedFacts>);

static NO_SHARED_FACTS: SharedFacts = SharedFacts::new();

impl SharedFactsByFace {
    /// What the instances of `face` have in common, where it was read.
    pub(super) fn of(&self, face: &str) -> &SharedFacts {
        self.0.get(face).unwrap_or(&NO_SHARED_FACTS)
    }
}

impl Faces {
    /// The faces, each of machines of its own.
    #[must_use]
    pub fn new(faces: Vec<Arc<dyn Face>>) -> Self {
        Self(faces)
    }

    /// The face of `machine`.
    pub(super) fn of(&self, machine: &MachineName) -> Option<&dyn Face> {
        self.0.iter().find(|face| face.is_face_of(machine)).map(|face| &**face)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn Face> {
        self.0.iter().map(|face| &**face)
    }

    /// Adds what is known to those of `instances` that come without.
    pub(super) async fn add_facts<'a>(
        &self,
        db: &mut DbConnection,
        instances: impl Iterator<Item = &'a mut VersionedInstance>,
    ) -> Result<(), StoreError> {
        let mut lacking: Vec<&mut VersionedInstance> = instances.filter(|one| !one.has_read_facts).collect();
        for face in self.iter() {
            let own = lacking.iter().filter(|one| face.is_face_of(&one.instance.machine));
            let ids: Vec<InstanceId> = own.map(|one| one.id).collect();
            if ids.is_empty() {
                continue;
            }
            let mut facts: HashMap<_, _> = face.read_facts(db, &ids).await?.into_iter().collect();
            for one in &mut lacking {
                one.facts = facts.remove(&one.id).or_else(|| one.facts.take());
            }
        }
        for one in lacking {
            one.has_read_facts = true;
        }
        Ok(())
    }

    /// Reads what instances have in common.
    pub(super) async fn read_shared(&self, db: &mut DbConnection) -> Result<SharedFactsByFace, StoreError> {
        let mut shared = BTreeMap::new();
        for face in self.iter() {
            shared.insert(face.name(), face.read_shared(db).await?);
        }
        Ok(SharedFactsByFace(shared))
    }

    /// Says of the claims that have a selector which resources this means now.
    pub(super) async fn select<'a>(
        &self,
        db: &mut DbConnection,
        claims: impl Iterator<Item = (InstanceId, &'a mut Vec<Claim>)>,
    ) -> Result<(), StoreError> {
        for (instance, claims) in claims {
            for claim in claims {
                let Some(selector) = &claim.select else { continue };
                // Of a face that there is no more nothing can be had.
                let face = self.iter().find(|face| face.selectors().contains(&selector.as_str()));
                if let Some(face) = face {
                    claim.any_of = face.select(db, selector, instance).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether an action that works with `facts` needs what instances have in common.
    pub(super) fn needs_shared_facts(&self, facts: &[&str]) -> bool {
        self.iter().any(|face| facts.iter().any(|fact| face.is_shared_fact(fact)))
    }

    /// Says what is known of instances that were silent until their time passed.
    pub(super) async fn read_silence(
        &self,
        db: &mut DbConnection,
        silent: &[(InstanceId, MachineName)],
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<InstanceId, String>, StoreError> {
        let mut told = BTreeMap::new();
        for face in self.iter() {
            let own = silent.iter().filter(|(_, machine)| face.is_face_of(machine));
            let ids: Vec<InstanceId> = own.map(|(id, _)| *id).collect();
            if !ids.is_empty() {
                told.extend(face.read_silence(db, &ids, now).await?);
            }
        }
        Ok(told)
    }
}

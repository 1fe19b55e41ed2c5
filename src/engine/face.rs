//! Faces: what is known of the instances of a machine from outside the engine.
//!
//! The engine knows instances, but not what they represent. Guards and actions read facts; a face reads them from its own
//! tables, over the same connection as the engine reads the instances. Facts are cached with the row of the instance, so a
//! face changes them by [`change_facts`](crate::engine::Engine::change_facts), or rewrites the row itself.

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

/// Provides the facts about the instances of a machine.
#[async_trait]
pub trait Face: Send + Sync + 'static {
    /// Its name, which distinguishes its facts from those of other faces.
    fn name(&self) -> &'static str;

    /// Whether it is the face of `machine`.
    fn is_face_of(&self, machine: &MachineName) -> bool;

    /// Reads the facts of its instances among `ids`, in one statement.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    async fn read_facts(
        &self,
        db: &mut DbConnection,
        ids: &[InstanceId],
    ) -> Result<Vec<(InstanceId, Arc<dyn InstanceFacts>)>, StoreError>;

    /// Reads the facts that its instances share, in one statement: for guards, and for actions that use a
    /// [shared fact](Self::is_shared_fact).
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    async fn read_shared(&self, _db: &mut DbConnection) -> Result<SharedFacts, StoreError> {
        Ok(SharedFacts::new())
    }

    /// Whether the fact `fact` of actions is a shared fact.
    fn is_shared_fact(&self, _fact: &str) -> bool {
        false
    }

    /// Describes instances that were silent until their deadline, for history.
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

    /// Summarizes an instance for its explanation.
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

    /// Stores facts that actions found, where they are new; returns the instances whose facts changed. Their rows are
    /// rewritten.
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

    /// The selectors by which definitions refer to any of its resources.
    fn selectors(&self) -> &[&str] {
        &[]
    }

    /// Lists the resources of a selector for an instance; the first one that is free is granted.
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

    /// Reads the loads that its instances among `ids` add where they are switched on, in milliampere, in one statement.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    async fn read_loads(
        &self,
        _db: &mut DbConnection,
        _ids: &[InstanceId],
    ) -> Result<Vec<(InstanceId, u32)>, StoreError> {
        Ok(Vec::new())
    }

    /// Refuses the removal of an instance, where it cannot be removed now.
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

    /// Runs once when the engine starts.
    async fn start(&self, _store: &Store) {}
}

/// The removal of an instance.
#[derive(Debug, Clone, Copy)]
pub struct InstanceRemoval<'a> {
    /// Its number.
    pub id: InstanceId,
    /// The instance.
    pub instance: &'a Instance,
    /// Whether a compensation is pending.
    pub is_compensation_owed: bool,
}

/// A fact that an action found.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnedFact<'a> {
    /// The instance.
    pub instance: InstanceId,
    /// Its name for actions.
    pub name: &'a str,
    /// Its value.
    pub value: &'a Value,
}

/// The summary of an instance by its face.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FaceSummary {
    /// The facts for guards.
    pub facts: Map<String, Value>,
    /// The facts for actions; they are not shown.
    pub action_facts: Map<String, Value>,
    /// Further details, by name.
    pub details: Map<String, Value>,
    /// What its face last observed of it, in a sentence.
    pub observation: Option<String>,
    /// The progress in its state, in a sentence, which is shown while it works.
    pub progress: Option<String>,
}

/// The facts of an instance that is being created.
#[async_trait]
pub trait NewFacts: Send + Sync {
    /// Stores the facts of the new instance.
    ///
    /// # Errors
    ///
    /// [`EngineError::Refused`], [`EngineError::Store`]: the instance is not created then.
    async fn insert(
        &self,
        tx: &mut Tx,
        id: InstanceId,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn InstanceFacts>, EngineError>;
}

/// A change of facts.
#[async_trait]
pub trait FactChange: Send + Sync {
    /// Stores the change for the locked instance; nothing where it changes nothing.
    ///
    /// # Errors
    ///
    /// [`EngineError::Refused`], [`EngineError::Store`]: nothing is changed then.
    async fn apply(&self, tx: &mut Tx, locked: &LockedInstance) -> Result<Option<ChangedFacts>, EngineError>;
}

/// The result of a change of facts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChangedFacts {
    /// The changed facts with their new values, for history.
    pub changed: Map<String, Value>,
    /// The new claims of waiting actions, where they change.
    pub claims: Option<Vec<Claim>>,
}

/// The faces of an engine.
#[derive(Clone, Default)]
pub struct Faces(Vec<Arc<dyn Face>>);

/// The shared facts, by face.
#[derive(Debug, Default)]
pub(super) struct SharedFactsByFace(BTreeMap<&'static str, SharedFacts>);

static NO_SHARED_FACTS: SharedFacts = SharedFacts::new();

impl SharedFactsByFace {
    /// Returns the shared facts of `face`, where they were read.
    pub(super) fn of(&self, face: &str) -> &SharedFacts {
        self.0.get(face).unwrap_or(&NO_SHARED_FACTS)
    }
}

impl Faces {
    /// A set of faces; each has machines of its own.
    #[must_use]
    pub fn new(faces: Vec<Arc<dyn Face>>) -> Self {
        Self(faces)
    }

    /// Finds the face of `machine`.
    pub(super) fn of(&self, machine: &MachineName) -> Option<&dyn Face> {
        self.0.iter().find(|face| face.is_face_of(machine)).map(|face| &**face)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn Face> {
        self.0.iter().map(|face| &**face)
    }

    /// Adds facts to those of `instances` that were read without facts.
    pub(super) async fn add_facts<'a>(
        &self,
        db: &mut DbConnection,
        instances: impl Iterator<Item = &'a mut VersionedInstance>,
    ) -> Result<(), StoreError> {
        let mut lacking: Vec<&mut VersionedInstance> =
            instances.filter(|versioned| !versioned.has_read_facts).collect();
        for face in self.iter() {
            let own = lacking.iter().filter(|versioned| face.is_face_of(&versioned.instance.machine));
            let ids: Vec<InstanceId> = own.map(|versioned| versioned.id).collect();
            if ids.is_empty() {
                continue;
            }
            let mut facts: HashMap<_, _> = face.read_facts(db, &ids).await?.into_iter().collect();
            for versioned in &mut lacking {
                versioned.facts = facts.remove(&versioned.id).or_else(|| versioned.facts.take());
            }
        }
        for versioned in lacking {
            versioned.has_read_facts = true;
        }
        Ok(())
    }

    /// Reads the shared facts.
    pub(super) async fn read_shared(&self, db: &mut DbConnection) -> Result<SharedFactsByFace, StoreError> {
        let mut shared = BTreeMap::new();
        for face in self.iter() {
            shared.insert(face.name(), face.read_shared(db).await?);
        }
        Ok(SharedFactsByFace(shared))
    }

    /// Resolves the selectors of claims to resources.
    pub(super) async fn select<'a>(
        &self,
        db: &mut DbConnection,
        claims: impl Iterator<Item = (InstanceId, &'a mut Vec<Claim>)>,
    ) -> Result<(), StoreError> {
        for (instance, claims) in claims {
            for claim in claims {
                let Some(selector) = &claim.select else { continue };
                // The face of a selector may no longer exist.
                let face = self.iter().find(|face| face.selectors().contains(&selector.as_str()));
                if let Some(face) = face {
                    claim.any_of = face.select(db, selector, instance).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads the loads that `ids` add, in milliampere.
    pub(super) async fn read_loads(
        &self,
        db: &mut DbConnection,
        ids: &[InstanceId],
    ) -> Result<HashMap<InstanceId, u32>, StoreError> {
        let mut loads = HashMap::new();
        for face in self.iter() {
            loads.extend(face.read_loads(db, ids).await?);
        }
        Ok(loads)
    }

    /// Whether an action that uses `facts` needs shared facts.
    pub(super) fn needs_shared_facts(&self, facts: &[&str]) -> bool {
        self.iter().any(|face| facts.iter().any(|fact| face.is_shared_fact(fact)))
    }

    /// Describes instances that were silent until their deadline.
    pub(super) async fn read_silence(
        &self,
        db: &mut DbConnection,
        silent: &[(InstanceId, MachineName)],
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<InstanceId, String>, StoreError> {
        let mut reasons = BTreeMap::new();
        for face in self.iter() {
            let own = silent.iter().filter(|(_, machine)| face.is_face_of(machine));
            let ids: Vec<InstanceId> = own.map(|(id, _)| *id).collect();
            if !ids.is_empty() {
                reasons.extend(face.read_silence(db, &ids, now).await?);
            }
        }
        Ok(reasons)
    }
}

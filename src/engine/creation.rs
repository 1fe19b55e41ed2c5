//! Creation of instances.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Map;

use super::chain::ChainContext;
use super::claims::{HoldChanges, prepend_holds, with_claims};
use super::definition_cache::DefinitionSet;
use super::error::EngineError;
use super::face::{NewFacts, SharedFactsByFace};
use super::grants::{PassOnPlan, pass_on};
use super::handle::Engine;
use super::pending_update::PendingUpdate;
use super::pending_updates::PendingUpdates;
use super::step::MissingInput;
use super::work_item::CommittedSubmission;
use super::{batch_commit, linked_instances};
use crate::clock;
use crate::machine::{
    self, Cause, Decision, Definition, Effect, InstanceAddress, Link, LinkName, Links, MachineName, Stimulus,
    Visit,
};
use crate::store::batches::{self, Batch, BatchResult, DecidedUpdate};
use crate::store::history::{self, HistoryContent, NewHistoryEntry};
use crate::store::instances::{self, InstanceId, InstanceKey};
use crate::store::links::LinkedIds;
use crate::store::{SharedFacts, StoreError, Tx, actions};

/// How often a creation is tried while the instances at which it raises events are rewritten.
const MAX_CREATION_TRIES: usize = 20;

/// The target of a link of a new instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTarget {
    /// Its name.
    pub name: String,
    /// Its visit; the present one where it is not given.
    pub visit: Option<Visit>,
}

/// The links of a new instance, by their names in its definition.
pub type LinkTargets = BTreeMap<LinkName, LinkTarget>;

/// The result of the events that a new instance raised.
enum RaiseOutcome {
    /// It raised no events.
    Nothing,
    /// The decisions are written.
    Applied(BatchResult),
    /// A target was rewritten meanwhile: the creation has to be decided again.
    Overtaken,
}

/// A created instance that is not committed.
struct CreatedInstance {
    id: InstanceId,
    cause: Cause,
    decision: Decision,
    /// The decisions of linked instances on its raised events, and its own in turn.
    raised: Vec<DecidedUpdate>,
}

impl Engine {
    /// Creates an instance of `machine` in its initial state, with its facts.
    ///
    /// # Errors
    ///
    /// [`EngineError::Exists`] when there is an instance of this name; [`EngineError::NoMachine`] when there is no active
    /// definition of the machine; the errors of `new_facts`. Nothing was written then.
    pub async fn create(
        &self,
        machine: &MachineName,
        name: &str,
        new_facts: Option<&dyn NewFacts>,
        sender: Option<String>,
    ) -> Result<CommittedSubmission, EngineError> {
        self.create_linked((machine, name), &LinkTargets::new(), new_facts, sender).await
    }

    /// Creates an instance with links. Linked instances decide on the events that it raises in the same transaction.
    ///
    /// # Errors
    ///
    /// Those of [`create`](Self::create), and [`EngineError::NoLink`] and [`EngineError::NoInstance`] for invalid links.
    pub async fn create_linked(
        &self,
        (machine, name): (&MachineName, &str),
        links: &LinkTargets,
        new_facts: Option<&dyn NewFacts>,
        sender: Option<String>,
    ) -> Result<CommittedSubmission, EngineError> {
        for _ in 0..MAX_CREATION_TRIES {
            let mut tx = self.store().begin().await?;
            let definitions = self.lock_definitions(&mut tx).await?;
            let now = self.clock().now();
            let definition = definitions.definition(machine)?;
            let (links, ids) = find_linked(&mut tx, definition, links).await?;
            let new_instance = (definition.as_ref(), name, links, ids);
            let mut created = self.insert(&mut tx, new_instance, new_facts, (sender.clone(), now)).await?;
            let raised = self.decide_raised(&mut tx, &definitions, &mut created, now).await?;
            if matches!(raised, RaiseOutcome::Overtaken) {
                // Linked instances have changed; nothing of this is durable.
                drop(tx);
                clock::sleep_real_time(Duration::from_millis(5)).await;
                continue;
            }
            let life = tx.life();
            tx.commit().await?;
            let CreatedInstance { id, ref decision, .. } = created;
            let own = created
                .raised
                .iter()
                .find(|update| update.id() == id)
                .and_then(|update| update.instance.clone());
            let instance = own.unwrap_or_else(|| decision.instance.clone().into());
            let (state, visit) = (&decision.instance.state, decision.instance.visit);
            tracing::info!(%machine, instance = %name, %state, visit = visit.0, "instance created");
            self.note_written(life, id, &instance);
            if let RaiseOutcome::Applied(applied) = raised {
                batch_commit::update_caches(self, life, created.raised, &applied);
            }
            return Ok(CommittedSubmission { id, outcome: created.decision.outcome, instance });
        }
        Err(StoreError::overtaken().into())
    }

    /// Writes a new instance and its facts.
    async fn insert(
        &self,
        tx: &mut Tx,
        (definition, name, links, ids): (&Definition, &str, Links, LinkedIds),
        new_facts: Option<&dyn NewFacts>,
        (sender, now): (Option<String>, DateTime<Utc>),
    ) -> Result<CreatedInstance, EngineError> {
        // Guards on the way into the initial state cannot read facts.
        let facts = Map::new();
        let decision = machine::create_linked(definition, name, links.clone(), facts.clone(), now);
        let id = instances::insert(tx, &decision.instance, &ids).await?;
        let id = id.ok_or_else(|| EngineError::Exists(name.to_owned()))?;
        let new_facts = match new_facts {
            Some(new_facts) => Some(new_facts.insert(tx, id, now).await?),
            None => None,
        };
        let cause = Cause::Created { links };
        let entry = NewHistoryEntry {
            instance: id,
            at: now,
            content: HistoryContent::Stimulus(Stimulus { facts, ..Stimulus::new(cause.clone()) }),
            sender,
            outcome: Some(decision.outcome.clone()),
            from: decision.instance.state.clone(),
            to: decision.instance.state.clone(),
            visit: decision.instance.visit,
            reason: None,
            evidence: None,
        };
        history::append(tx, &entry).await?;
        self.append_change(tx, id, &decision.instance).await?;
        let of_actions = new_facts
            .map(|new_facts| new_facts.for_actions(&decision.instance, &SharedFacts::new()))
            .unwrap_or_default();
        for effect in &decision.effects {
            // There is no earlier visit whose actions could be cancelled.
            if let Effect::Invoke { visit, actions: invoked } = effect {
                let mut new = with_claims(self.kinds(), &of_actions, invoked, None);
                let held = HoldChanges::of(definition, &decision.instance.state, &decision.instance.state);
                prepend_holds(&mut new, &held.entered);
                actions::insert(tx, id, *visit, &new, now).await?;
            }
        }
        Ok(CreatedInstance { id, cause, decision, raised: Vec::new() })
    }

    /// Decides on the events that a new instance raised.
    async fn decide_raised(
        &self,
        tx: &mut Tx,
        definitions: &DefinitionSet,
        created: &mut CreatedInstance,
        now: DateTime<Utc>,
    ) -> Result<RaiseOutcome, EngineError> {
        if !created.decision.effects.iter().any(|effect| matches!(effect, Effect::Raise(_))) {
            return Ok(RaiseOutcome::Nothing);
        }
        let mut pending = PendingUpdates::default();
        linked_instances::read_in_transaction(self, tx, &mut pending, [InstanceKey::Id(created.id)].into())
            .await?;
        let mut shared: Option<SharedFactsByFace> = None;
        let steps = loop {
            let context = ChainContext { pending: &pending, definitions, shared_facts: shared.as_ref(), now };
            match context.follow(created.id, &created.cause, &created.decision) {
                Ok(steps) => break steps,
                Err(MissingInput::Instance(target)) => {
                    linked_instances::read_in_transaction(self, tx, &mut pending, [target].into()).await?;
                }
                Err(MissingInput::SharedFacts) => shared = Some(self.inner.faces.read_shared(tx).await?),
                Err(MissingInput::Facts(_)) => {
                    let instances = pending.iter_mut().map(PendingUpdate::base_mut);
                    self.inner.faces.add_facts(tx, instances).await?;
                }
                // No action starts or ends here.
                Err(MissingInput::NextBatch) => return Ok(RaiseOutcome::Overtaken),
            }
        };
        let ids: BTreeSet<InstanceId> = steps.iter().map(|step| step.id).collect();
        pending.couple(&ids);
        pending.apply_raised(steps, now);
        let touched = pending.into_values().filter(|update| !update.is_untouched());
        created.raised = touched.map(|update| PendingUpdate::into_decided(*update)).collect();
        let (faces, troubles) = (&self.inner.faces, self.inner.troubles.keys());
        let PassOnPlan { dropped_holds, passed_on_grants } =
            pass_on(tx, &created.raised, faces, &troubles, now).await?;
        let raised = Batch {
            decided: &created.raised,
            dropped_holds: &dropped_holds,
            passed_on_grants: &passed_on_grants,
        };
        let applied =
            batches::write(tx, raised, self.inner.origin, definitions.activation, None, now).await?;
        let is_whole = applied.overtaken.is_empty() && !applied.is_outdated;
        Ok(if is_whole { RaiseOutcome::Applied(applied) } else { RaiseOutcome::Overtaken })
    }
}

/// Finds the targets of the links of a new instance.
async fn find_linked(
    tx: &mut Tx,
    definition: &Definition,
    links: &LinkTargets,
) -> Result<(Links, LinkedIds), EngineError> {
    let (mut found, mut ids) = (Links::new(), LinkedIds::new());
    for (link, LinkTarget { name, visit }) in links {
        let no_link = || EngineError::NoLink { machine: definition.machine.clone(), link: link.clone() };
        let machine = &definition.links.get(link).ok_or_else(no_link)?.machine;
        let named = [(machine.clone(), name.clone())];
        let versioned = batches::read(tx, &[], &named).await?.pop();
        let versioned = versioned
            .ok_or_else(|| EngineError::NoInstance(InstanceKey::Name(machine.clone(), name.clone())))?;
        let to = InstanceAddress { machine: machine.clone(), name: name.clone() };
        let visit = visit.or(Some(versioned.instance.visit));
        found.insert(link.clone(), Link { to, visit });
        ids.insert(link.clone(), versioned.id);
    }
    Ok((found, ids))
}

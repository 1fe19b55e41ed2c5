//! Instances come to be.

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

/// How often an instance is brought to be anew where another one changed to which it raises something as it begins.
const MAX_CREATION_TRIES: usize = 20;

/// An instance to which a new one is to be linked: its name, and which visit of it is meant; the present one where nothing
/// is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTarget {
    /// Its name.
    pub name: String,
    /// Its visit.
    pub visit: Option<Visit>,
}

/// The links of a new instance, by the names that its definition has for them.
pub type LinkTargets = BTreeMap<LinkName, LinkTarget>;

/// What became of what a new instance raised.
enum RaiseOutcome {
    /// It raised nothing.
    Nothing,
    /// It is written.
    Applied(BatchResult),
    /// One to whom it was raised was rewritten meanwhile: it is to be decided on anew.
    Overtaken,
}

/// What of an instance was decided as it came to be.
struct CreatedInstance {
    id: InstanceId,
    cause: Cause,
    decision: Decision,
    /// What others decided because of it, and it in turn.
    raised: Vec<DecidedUpdate>,
}

impl Engine {
    /// Brings an instance of `machine` to be, in its initial state, with what is known of what it stands for.
    ///
    /// # Errors
    ///
    /// [`EngineError::Exists`] when there is one of this name; [`EngineError::NoMachine`] when no definition of the machine is
    /// in force; whatever `known` refuses. Nothing was written then.
    pub async fn create(
        &self,
        machine: &MachineName,
        name: &str,
        known: Option<&dyn NewFacts>,
        sender: Option<String>,
    ) -> Result<CommittedSubmission, EngineError> {
        self.create_linked((machine, name), &LinkTargets::new(), known, sender).await
    }

    /// The same with links to other instances. What it raises at them as it begins, they decide in the same transaction.
    ///
    /// # Errors
    ///
    /// The same, and [`EngineError::NoLink`], [`EngineError::NoInstance`] when it cannot be linked so.
    pub async fn create_linked(
        &self,
        (machine, name): (&MachineName, &str),
        links: &LinkTargets,
        known: Option<&dyn NewFacts>,
        sender: Option<String>,
    ) -> Result<CommittedSubmission, EngineError> {
        for _ in 0..MAX_CREATION_TRIES {
            let mut tx = self.store().begin().await?;
            let rules = self.lock_definitions(&mut tx).await?;
            let now = self.clock().now();
            let definition = rules.definition(machine)?;
            let (links, ids) = find_linked(&mut tx, definition, links).await?;
            let created = (definition.as_ref(), name, links, ids);
            let mut born = self.insert(&mut tx, created, known, (sender.clone(), now)).await?;
            let raised = self.decide_raised(&mut tx, &rules, &mut born, now).await?;
            if matches!(raised, RaiseOutcome::Overtaken) {
                // What it met is not so any more; nothing of this is durable.
                drop(tx);
                clock::sleep_real_time(Duration::from_millis(5)).await;
                continue;
            }
            let life = tx.life();
            tx.commit().await?;
            let CreatedInstance { id, ref decision, .. } = born;
            let own = born.raised.iter().find(|one| one.id() == id).and_then(|one| one.instance.clone());
            let instance = own.unwrap_or_else(|| decision.instance.clone().into());
            self.note_written(life, id, &instance);
            if let RaiseOutcome::Applied(applied) = raised {
                batch_commit::update_caches(self, life, born.raised, &applied);
            }
            return Ok(CommittedSubmission { id, outcome: born.decision.outcome, instance });
        }
        Err(StoreError::overtaken().into())
    }

    /// Writes a new instance, and what is known of what it stands for.
    async fn insert(
        &self,
        tx: &mut Tx,
        (definition, name, links, ids): (&Definition, &str, Links, LinkedIds),
        known: Option<&dyn NewFacts>,
        (sender, now): (Option<String>, DateTime<Utc>),
    ) -> Result<CreatedInstance, EngineError> {
        // No guard on the way into the initial state can ask for facts of a thing that is only just coming to be.
        let facts = Map::new();
        let decision = machine::create_linked(definition, name, links.clone(), facts.clone(), now);
        let id = instances::insert(tx, &decision.instance, &ids).await?;
        let id = id.ok_or_else(|| EngineError::Exists(name.to_owned()))?;
        let known = match known {
            Some(known) => Some(known.insert(tx, id, now).await?),
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
        let of_actions =
            known.map(|known| known.for_actions(&decision.instance, &SharedFacts::new())).unwrap_or_default();
        for effect in &decision.effects {
            // There is no visit yet whose actions could be cancelled.
            if let Effect::Invoke { visit, actions: invoked } = effect {
                let mut new = with_claims(self.kinds(), &of_actions, invoked, None);
                let held = HoldChanges::of(definition, &decision.instance.state, &decision.instance.state);
                prepend_holds(&mut new, &held.entered);
                actions::insert(tx, id, *visit, &new, now).await?;
            }
        }
        Ok(CreatedInstance { id, cause, decision, raised: Vec::new() })
    }

    /// Lets others decide on what a new instance raised.
    async fn decide_raised(
        &self,
        tx: &mut Tx,
        rules: &DefinitionSet,
        born: &mut CreatedInstance,
        now: DateTime<Utc>,
    ) -> Result<RaiseOutcome, EngineError> {
        if !born.decision.effects.iter().any(|effect| matches!(effect, Effect::Raise(_))) {
            return Ok(RaiseOutcome::Nothing);
        }
        let mut drafts = PendingUpdates::default();
        linked_instances::read_in_transaction(self, tx, &mut drafts, [InstanceKey::Id(born.id)].into())
            .await?;
        let mut shared: Option<SharedFactsByFace> = None;
        let steps = loop {
            let scene =
                ChainContext { pending: &drafts, definitions: rules, shared_facts: shared.as_ref(), now };
            match scene.follow(born.id, &born.cause, &born.decision) {
                Ok(steps) => break steps,
                Err(MissingInput::Instance(target)) => {
                    linked_instances::read_in_transaction(self, tx, &mut drafts, [target].into()).await?;
                }
                Err(MissingInput::SharedFacts) => shared = Some(self.inner.faces.read_shared(tx).await?),
                // Nothing begins or ends here.
                Err(MissingInput::NextBatch) => return Ok(RaiseOutcome::Overtaken),
            }
        };
        let ids: BTreeSet<InstanceId> = steps.iter().map(|step| step.id).collect();
        drafts.couple(&ids);
        drafts.apply_raised(steps, now);
        let touched = drafts.into_values().filter(|draft| !draft.is_untouched());
        born.raised = touched.map(|draft| PendingUpdate::into_decided(*draft)).collect();
        let (faces, troubles) = (&self.inner.faces, self.inner.troubles.keys());
        let PassOnPlan { dropped_holds: let_go, passed_on_grants: granted_on } =
            pass_on(tx, &born.raised, faces, &troubles, now).await?;
        let raised = Batch { decided: &born.raised, dropped_holds: &let_go, passed_on_grants: &granted_on };
        let applied = batches::write(tx, raised, self.inner.origin, rules.activation, None, now).await?;
        let is_whole = applied.overtaken.is_empty() && !applied.is_outdated;
        Ok(if is_whole { RaiseOutcome::Applied(applied) } else { RaiseOutcome::Overtaken })
    }
}

/// Finds the instances to which a new one is to be linked.
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
        let seen = batches::read(tx, &[], &named).await?.pop();
        let seen =
            seen.ok_or_else(|| EngineError::NoInstance(InstanceKey::Name(machine.clone(), name.clone())))?;
        let to = InstanceAddress { machine: machine.clone(), name: name.clone() };
        let visit = visit.or(Some(seen.instance.visit));
        found.insert(link.clone(), Link { to, visit });
        ids.insert(link.clone(), seen.id);
    }
    Ok((found, ids))
}

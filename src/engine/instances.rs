//! Instances come and go.

use serde_json::Map;

use super::draft::with_places;
use super::error::EngineError;
use super::face::{NewFacts, Removal};
use super::handle::Engine;
use super::work::Committed;
use crate::machine::{self, Cause, Effect, Instance, Links, MachineName, Stimulus};
use crate::store::changes::{self, Changed, Now};
use crate::store::groups::{self, Seen};
use crate::store::history::{self, NewEntry, Told};
use crate::store::instances::{self, InstanceId, Locked, Target};
use crate::store::{SharedFacts, Tx, actions};

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
    ) -> Result<Committed, EngineError> {
        let mut tx = self.store().begin().await?;
        let rules = self.hold_rules(&mut tx).await?;
        let now = self.clock().now();
        // No guard on the way into the initial state can ask for facts of a thing that is only just coming to be.
        let facts = Map::new();
        let decision = machine::create(rules.definition(machine)?, name, facts.clone(), now);
        let id = instances::insert(&mut tx, &decision.instance).await?;
        let id = id.ok_or_else(|| EngineError::Exists(name.to_owned()))?;
        let known = match known {
            Some(known) => Some(known.insert(&mut tx, id, now).await?),
            None => None,
        };
        let entry = NewEntry {
            instance: id,
            at: now,
            told: Told::Stimulus(Stimulus { facts, ..Stimulus::new(Cause::Created { links: Links::new() }) }),
            sender,
            outcome: Some(decision.outcome.clone()),
            from: decision.instance.state.clone(),
            to: decision.instance.state.clone(),
            visit: decision.instance.visit,
            reason: None,
            evidence: None,
        };
        history::append(&mut tx, &entry).await?;
        self.append_change(&mut tx, id, &decision.instance).await?;
        let of_actions =
            known.map(|known| known.for_actions(&decision.instance, &SharedFacts::new())).unwrap_or_default();
        for effect in &decision.effects {
            // There is no visit yet whose actions could be cancelled.
            if let Effect::Invoke { visit, actions: invoked } = effect {
                let new = with_places(self.kinds(), &of_actions, invoked);
                actions::insert(&mut tx, id, *visit, &new, now).await?;
            }
        }
        let life = tx.life();
        tx.commit().await?;
        self.learn(life, id, &decision.instance);
        Ok(Committed { id, outcome: decision.outcome, instance: decision.instance.into() })
    }

    /// Reads an instance as it is now, with the version of its row.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn find(&self, machine: &MachineName, name: &str) -> Result<Option<Seen>, EngineError> {
        if name.contains('\0') {
            return Ok(None);
        }
        let named = [(machine.clone(), name.to_owned())];
        Ok(groups::read(&mut *self.store().reader().await?, &[], &named).await?.pop())
    }

    /// Removes an instance, if it still is as one of the tags `only_as` says; what it still had to do is cancelled, its history
    /// stays.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such instance; [`EngineError::Changed`] when it is otherwise;
    /// [`EngineError::Refused`] when its face does not let it go; [`EngineError::RescueOwed`] when what an action left undone
    /// is still to be made up for. Nothing was written then.
    pub async fn remove(
        &self,
        machine: &MachineName,
        name: &str,
        only_as: Option<&[String]>,
        sender: Option<String>,
    ) -> Result<(), EngineError> {
        let mut tx = self.store().begin().await?;
        // What is told of its deadline is not to come after what an adoption made of it.
        self.hold_rules(&mut tx).await?;
        let locked = self.lock(&mut tx, &Target::Name(machine.clone(), name.to_owned())).await?;
        if let Some(tags) = only_as {
            let seen = groups::read(&mut tx, &[locked.id], &[]).await?.pop();
            if !seen.is_some_and(|seen| tags.contains(&self.tag(&seen))) {
                return Err(EngineError::Changed);
            }
        }
        let is_rescue_owed = actions::is_rescue_owed(&mut tx, locked.id).await?;
        let removal = Removal { id: locked.id, instance: &locked.instance, is_rescue_owed };
        if let Some(face) = self.inner.faces.of(machine)
            && let Some(refusal) = face.refuse_removal(&mut tx, removal).await?
        {
            return Err(refusal.into());
        }
        if is_rescue_owed {
            return Err(EngineError::RescueOwed(name.to_owned()));
        }
        actions::cancel_all(&mut tx, locked.id).await?;
        let remark = Some(format!("{name} was removed"));
        let removed = NewEntry { reason: remark, ..self.note_of(&locked, "removed", sender) };
        history::append(&mut tx, &removed).await?;
        instances::delete(&mut tx, locked.id).await?;
        let now = Now::Removed { machine: machine.clone(), name: name.to_owned() };
        changes::append(&mut tx, self.inner.origin, &[Changed { id: locked.id, now }]).await?;
        tx.commit().await?;
        self.inner.actions_changed.notify_one();
        self.inner.written.notify_one();
        self.inner.feed.wake_for_own();
        Ok(())
    }

    /// Locks `target` until `tx` ends.
    pub(super) async fn lock(&self, tx: &mut Tx, target: &Target) -> Result<Locked, EngineError> {
        instances::lock(tx, target).await?.ok_or_else(|| EngineError::NoInstance(target.clone()))
    }

    /// Writes into the log of changes what became of an instance or of what is known of it.
    pub(super) async fn append_change(
        &self,
        tx: &mut Tx,
        id: InstanceId,
        instance: &Instance,
    ) -> Result<(), EngineError> {
        let now = Now::Is { visit: instance.visit, deadline_at: instance.deadline_at };
        Ok(changes::append(tx, self.inner.origin, &[Changed { id, now }]).await?)
    }

    /// A note about an instance that is locked.
    pub(super) fn note_of(&self, locked: &Locked, name: &str, sender: Option<String>) -> NewEntry {
        NewEntry {
            instance: locked.id,
            at: self.clock().now(),
            told: Told::Note(name.to_owned()),
            sender,
            outcome: None,
            from: locked.instance.state.clone(),
            to: locked.instance.state.clone(),
            visit: locked.instance.visit,
            reason: None,
            evidence: None,
        }
    }
}

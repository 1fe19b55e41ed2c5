//! Finding and removing instances.

use super::error::EngineError;
use super::face::InstanceRemoval;
use super::handle::Engine;
use super::tag_condition::TagCondition;
use crate::machine::{Instance, MachineName};
use crate::store::batches::{self, VersionedInstance};
use crate::store::changes::{self, InstanceChange, InstanceChangeKind};
use crate::store::history::{self, HistoryContent, NewHistoryEntry};
use crate::store::instances::{self, InstanceId, InstanceKey, LockedInstance};
use crate::store::{Tx, actions};

impl Engine {
    /// Reads an instance with the version of its row.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn find(
        &self,
        machine: &MachineName,
        name: &str,
    ) -> Result<Option<VersionedInstance>, EngineError> {
        if name.contains('\0') {
            return Ok(None);
        }
        let named = [(machine.clone(), name.to_owned())];
        Ok(batches::read(&mut *self.store().reader().await?, &[], &named).await?.pop())
    }

    /// Removes an instance, if its entity tag meets `condition`; its actions are cancelled, its history is kept.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such instance; [`EngineError::Changed`] when its tag is another one;
    /// [`EngineError::Refused`] when its face refuses; [`EngineError::CompensationOwed`] when a compensation is pending.
    /// Nothing was written then.
    pub async fn remove(
        &self,
        machine: &MachineName,
        name: &str,
        condition: Option<&TagCondition>,
        sender: Option<String>,
    ) -> Result<(), EngineError> {
        let mut tx = self.store().begin().await?;
        // An activation can change the deadline too: the lock keeps both changes in order in the change log.
        self.lock_definitions(&mut tx).await?;
        let locked = self.lock(&mut tx, &InstanceKey::Name(machine.clone(), name.to_owned())).await?;
        if let Some(condition) = condition {
            let versioned = batches::read(&mut tx, &[locked.id], &[]).await?.pop();
            if !versioned.is_some_and(|versioned| condition.is_met_by(&self.tag(&versioned))) {
                return Err(EngineError::Changed);
            }
        }
        let is_compensation_owed = actions::is_compensation_owed(&mut tx, locked.id).await?;
        let removal = InstanceRemoval { id: locked.id, instance: &locked.instance, is_compensation_owed };
        if let Some(face) = self.inner.faces.of(machine)
            && let Some(refusal) = face.refuse_removal(&mut tx, removal).await?
        {
            return Err(refusal.into());
        }
        if is_compensation_owed {
            return Err(EngineError::CompensationOwed(name.to_owned()));
        }
        actions::cancel_all(&mut tx, locked.id).await?;
        let reason = Some(format!("{name} was removed"));
        let removed = NewHistoryEntry { reason, ..self.note_entry(&locked, "removed", sender) };
        history::append(&mut tx, &removed).await?;
        instances::delete(&mut tx, locked.id).await?;
        let kind = InstanceChangeKind::Removed { machine: machine.clone(), name: name.to_owned() };
        changes::append(&mut tx, self.inner.origin, &[InstanceChange { id: locked.id, kind }]).await?;
        tx.commit().await?;
        let (state, visit) = (&locked.instance.state, locked.instance.visit);
        tracing::info!(%machine, instance = %name, %state, visit = visit.0, "instance removed");
        self.inner.actions_changed.notify_one();
        self.inner.written.notify_one();
        self.inner.feed.wake_for_own();
        Ok(())
    }

    /// Locks `target` until `tx` ends.
    pub(super) async fn lock(
        &self,
        tx: &mut Tx,
        target: &InstanceKey,
    ) -> Result<LockedInstance, EngineError> {
        instances::lock(tx, target).await?.ok_or_else(|| EngineError::NoInstance(target.clone()))
    }

    /// Appends a change of an instance or of its facts to the change log.
    pub(super) async fn append_change(
        &self,
        tx: &mut Tx,
        id: InstanceId,
        instance: &Instance,
    ) -> Result<(), EngineError> {
        let kind = InstanceChangeKind::Written { visit: instance.visit, deadline_at: instance.deadline_at };
        Ok(changes::append(tx, self.inner.origin, &[InstanceChange { id, kind }]).await?)
    }

    /// Builds a note about a locked instance.
    pub(super) fn note_entry(
        &self,
        locked: &LockedInstance,
        name: &str,
        sender: Option<String>,
    ) -> NewHistoryEntry {
        NewHistoryEntry {
            instance: locked.id,
            at: self.clock().now(),
            content: HistoryContent::Note(name.to_owned()),
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

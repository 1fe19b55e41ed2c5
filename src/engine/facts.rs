//! Changes of the facts of instances.

use super::error::EngineError;
use super::face::{ChangedFacts, FactChange};
use super::handle::Engine;
use crate::store::actions;
use crate::store::history::{self, NewHistoryEntry};
use crate::store::instances::{self, InstanceKey};

impl Engine {
    /// Changes the facts of an instance, and records the change in history.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such instance; the errors of `change`; [`EngineError::Store`] when the
    /// database fails. Nothing was written then.
    pub async fn change_facts(
        &self,
        target: &InstanceKey,
        change: &dyn FactChange,
        sender: Option<String>,
    ) -> Result<(), EngineError> {
        let mut tx = self.store().begin().await?;
        // An activation can change the deadline too: the lock keeps both changes in order in the change log.
        self.lock_definitions(&mut tx).await?;
        let locked = self.lock(&mut tx, target).await?;
        let Some(facts) = change.apply(&mut tx, &locked).await? else { return Ok(()) };
        self.append_change(&mut tx, locked.id, &locked.instance).await?;
        let ChangedFacts { changed, claims } = facts;
        if let Some(claims) = claims {
            actions::replace_waiting_claims(&mut tx, locked.id, &claims).await?;
        }
        for action in changed.keys().flat_map(|fact| self.kinds().restarted_by(fact)) {
            actions::restart(&mut tx, locked.id, action, self.clock().now()).await?;
        }
        instances::touch(&mut tx, &[locked.id]).await?;
        let entry = self.note_entry(&locked, "changed", sender);
        history::append(&mut tx, &NewHistoryEntry { evidence: Some(changed), ..entry }).await?;
        let life = tx.life();
        tx.commit().await?;
        self.note_written(life, locked.id, &locked.instance);
        Ok(())
    }
}

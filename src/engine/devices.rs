//! Boards come, change and go.

use serde_json::{Map, Value};

use super::draft::{board, with_places};
use super::{Committed, Engine, EngineError};
use crate::action;
use crate::machine::{self, Cause, Effect, Instance, MachineName, Stimulus};
use crate::store::changes::{self, Changed, Now};
use crate::store::devices::{self, Device};
use crate::store::history::{self, NewEntry, Told};
use crate::store::instances::{self, InstanceId, Locked, Target};
use crate::store::{StoreError, Tx, actions};

/// A change to what is known of a board; what is not said stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceChange {
    /// The host name or address that it answers on.
    pub fqdn: Option<String>,
    /// Its network address.
    pub mac: Option<String>,
    /// Where its power is switched, or nothing any more.
    pub power_url: Option<Option<String>>,
    /// What answers when it is up, or nothing any more.
    pub poll_url: Option<Option<String>>,
    /// Its type of hardware.
    pub hardware: Option<String>,
    /// Which part of the farm it belongs to.
    pub environment: Option<String>,
    /// What people wrote about it.
    pub comments: Option<String>,
}

impl DeviceChange {
    /// Makes the change, and says what it was: field → new value.
    fn make(self, device: &mut Device) -> Map<String, Value> {
        let mut changed = Map::new();
        let mut set = |field: &str, old: &mut String, new: Option<String>| {
            if let Some(new) = new.filter(|new| new != old) {
                changed.insert(field.to_owned(), Value::from(new.as_str()));
                *old = new;
            }
        };
        set("fqdn", &mut device.fqdn, self.fqdn);
        set("mac", &mut device.mac, self.mac);
        set("hardware", &mut device.hardware, self.hardware);
        set("environment", &mut device.environment, self.environment);
        set("comments", &mut device.comments, self.comments);
        let mut set = |field: &str, old: &mut Option<String>, new: Option<Option<String>>| {
            if let Some(new) = new.filter(|new| new != old) {
                changed.insert(field.to_owned(), Value::from(new.clone()));
                *old = new;
            }
        };
        set("power_url", &mut device.power_url, self.power_url);
        set("poll_url", &mut device.poll_url, self.poll_url);
        changed
    }
}

impl Engine {
    /// Registers a board: an instance of `machine` comes to be in its initial state.
    ///
    /// # Errors
    ///
    /// [`EngineError::Taken`] when the name or the network address is another board's; nothing was written.
    pub async fn register(
        &self,
        machine: &MachineName,
        name: &str,
        device: &Device,
        sender: Option<String>,
    ) -> Result<Committed, EngineError> {
        let mut tx = self.store().begin().await?;
        let rules = self.hold_rules(&mut tx).await?;
        let now = self.clock().now();
        // No guard on the way into the initial state can ask for facts of a board that is only just coming to be.
        let facts = Map::new();
        let decision = machine::create(rules.definition(machine)?, name, facts.clone(), now);
        let id = instances::insert(&mut tx, &decision.instance).await.map_err(taken)?;
        devices::insert(&mut tx, id, device, now).await.map_err(taken)?;
        let entry = NewEntry {
            instance: id,
            at: now,
            told: Told::Stimulus(Stimulus { device: facts, ..Stimulus::new(Cause::Created) }),
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
        for effect in &decision.effects {
            // There is no visit yet whose actions could be cancelled.
            if let Effect::Invoke { visit, actions: invoked } = effect {
                let new = with_places(Some(&board(name, device.clone())), invoked);
                actions::insert(&mut tx, id, *visit, &new, now).await?;
            }
        }
        tx.commit().await?;
        self.learn(id, &decision.instance);
        Ok(Committed { id, outcome: decision.outcome, instance: decision.instance })
    }

    /// Changes what is known of a board.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such board; [`EngineError::Taken`] when the network address is
    /// another board's; [`EngineError::Linked`] when the present one may have a boot link. Nothing was written.
    pub async fn change(
        &self,
        machine: &MachineName,
        name: &str,
        change: DeviceChange,
        sender: Option<String>,
    ) -> Result<(), EngineError> {
        let target = Target::Name(machine.clone(), name.to_owned());
        let mut tx = self.store().begin().await?;
        // What is told of its deadline is not to come after what an adoption made of it.
        self.hold_rules(&mut tx).await?;
        let locked = self.lock(&mut tx, &target).await?;
        let mut device =
            devices::find_device(&mut tx, locked.id).await?.ok_or(EngineError::NoInstance(target))?;
        let changed = change.make(&mut device);
        if changed.is_empty() {
            return Ok(());
        }
        if changed.contains_key("mac") {
            has_no_link(&locked.instance)?;
        }
        devices::save(&mut tx, locked.id, &device).await.map_err(taken)?;
        self.append_change(&mut tx, locked.id, &locked.instance).await?;
        if changed.contains_key("power_url") {
            let place = action::power_place(&board(name, device));
            actions::move_waiting(&mut tx, locked.id, place.as_deref()).await?;
        }
        instances::touch(&mut tx, &[locked.id]).await?;
        let changed = NewEntry { evidence: Some(changed), ..self.note_of(&locked, "changed", sender) };
        history::append(&mut tx, &changed).await?;
        tx.commit().await?;
        self.learn(locked.id, &locked.instance);
        Ok(())
    }

    /// Removes a board; what it still had to do is cancelled, its history stays.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such board; [`EngineError::Linked`] when it may have a boot link.
    pub async fn remove(
        &self,
        machine: &MachineName,
        name: &str,
        sender: Option<String>,
    ) -> Result<(), EngineError> {
        let mut tx = self.store().begin().await?;
        // What is told of its deadline is not to come after what an adoption made of it.
        self.hold_rules(&mut tx).await?;
        let locked = self.lock(&mut tx, &Target::Name(machine.clone(), name.to_owned())).await?;
        has_no_link(&locked.instance)?;
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
    async fn lock(&self, tx: &mut Tx, target: &Target) -> Result<Locked, EngineError> {
        instances::lock(tx, target).await?.ok_or_else(|| EngineError::NoInstance(target.clone()))
    }

    /// Writes into the log of changes what became of an instance or its device.
    async fn append_change(
        &self,
        tx: &mut Tx,
        id: InstanceId,
        instance: &Instance,
    ) -> Result<(), EngineError> {
        let now = Now::Is { visit: instance.visit, deadline_at: instance.deadline_at };
        Ok(changes::append(tx, self.inner.origin, &[Changed { id, now }]).await?)
    }

    /// A note about a board that is locked.
    fn note_of(&self, locked: &Locked, name: &str, sender: Option<String>) -> NewEntry {
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

/// Refuses where the board may have a boot link: nobody would remove it, and the board would install at every boot.
fn has_no_link(instance: &Instance) -> Result<(), EngineError> {
    match instance.data.get("next_image").and_then(Value::as_str) {
        Some(image) => Err(EngineError::Linked { name: instance.name.clone(), image: image.to_owned() }),
        None => Ok(()),
    }
}

fn taken(error: StoreError) -> EngineError {
    if error.is_constraint("device_mac_key") {
        EngineError::Taken("network address")
    } else if error.is_constraint("instance_machine_name_key") {
        EngineError::Taken("name")
    } else {
        EngineError::Store(error)
    }
}

//! Registration, change and removal of boards.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::device::{Device, DeviceChange};
use super::facts::BoardFacts;
use super::outlets::outlet_of;
use super::refusals;
use super::service::BoardService;
use super::store::devices::{self, OutletAssignment};
use crate::actions;
use crate::engine::{ChangedFacts, CommittedSubmission, EngineError, FactChange, NewFacts, to_stored_claim};
use crate::store::instances::{InstanceId, InstanceKey, LockedInstance};
use crate::store::{InstanceFacts, Tx};

impl BoardService {
    /// Registers a board, in its machine's initial state.
    ///
    /// # Errors
    ///
    /// [`EngineError::Exists`] when a board has this name; [`EngineError::Refused`] when another board has the MAC address or
    /// the power outlet; [`EngineError::NoMachine`] when the machine has no active definition. Nothing was written then.
    pub async fn register(
        &self,
        name: &str,
        device: &Device,
        sender: Option<String>,
    ) -> Result<CommittedSubmission, EngineError> {
        self.engine().create(self.machine(), name, Some(&NewDevice(device)), sender).await
    }

    /// Changes the inventory data of a board.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such board; [`EngineError::Refused`] when another board has the MAC
    /// address or the power outlet, or when the current MAC address may have a boot link. Nothing was written then.
    pub async fn change(
        &self,
        name: &str,
        change: DeviceChange,
        sender: Option<String>,
    ) -> Result<(), EngineError> {
        let target = InstanceKey::Name(self.machine().clone(), name.to_owned());
        self.engine().change_facts(&target, &change, sender).await
    }

    /// Removes a board; its actions are cancelled, its history stays.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such board; [`EngineError::Refused`] when it may have a boot link, or when
    /// its power may be off and has to be restored first.
    pub async fn remove(&self, name: &str, sender: Option<String>) -> Result<(), EngineError> {
        self.engine().remove(self.machine(), name, None, sender).await
    }
}

/// The inventory data of a board that is being registered.
struct NewDevice<'a>(&'a Device);

#[async_trait]
impl NewFacts for NewDevice<'_> {
    async fn insert(
        &self,
        tx: &mut Tx,
        id: InstanceId,
        now: DateTime<Utc>,
    ) -> Result<Arc<dyn InstanceFacts>, EngineError> {
        let Self(device) = *self;
        let outlet = outlet_of(device);
        if !devices::insert(tx, id, device, outlet.as_deref(), now).await? {
            let conflict = devices::find_conflict(tx, None, &device.mac, outlet.as_deref()).await?;
            return Err(refusals::conflict_error(device, conflict));
        }
        Ok(Arc::new(BoardFacts { device: device.clone(), answered_url: None }))
    }
}

#[async_trait]
impl FactChange for DeviceChange {
    async fn apply(&self, tx: &mut Tx, locked: &LockedInstance) -> Result<Option<ChangedFacts>, EngineError> {
        let (id, name) = (locked.id, &locked.instance.name);
        let machine = locked.instance.machine.clone();
        let no_board = || EngineError::NoInstance(InstanceKey::Name(machine, name.clone()));
        let mut device = devices::find_device(tx, id).await?.ok_or_else(no_board)?;
        let changed = self.apply_to(&mut device);
        if changed.is_empty() {
            return Ok(None);
        }
        if changed.contains_key("mac")
            && let Some(refusal) = refusals::boot_link_refusal(&locked.instance)
        {
            return Err(refusal.into());
        }
        // Earlier releases accepted shared outlets; such boards can still be changed in other fields.
        let is_rewired = changed.contains_key("power_url");
        let outlet = outlet_of(&device).filter(|_| is_rewired);
        let conflict = devices::find_conflict(tx, Some(id), &device.mac, outlet.as_deref()).await?;
        if conflict.is_some() {
            return Err(refusals::conflict_error(&device, conflict));
        }
        let assignment = is_rewired.then(|| OutletAssignment {
            id,
            name: name.clone(),
            power_url: device.power_url.clone(),
            outlet,
        });
        let saved = async {
            devices::save(tx, id, &device).await?;
            devices::save_outlets(tx, assignment.as_slice()).await
        };
        saved.await.map_err(|error| refusals::map_conflict(error, &device))?;
        let claim = device.power_url.as_deref().and_then(actions::power_claim);
        let claims = is_rewired.then(|| claim.as_ref().map(to_stored_claim).into_iter().collect());
        Ok(Some(ChangedFacts { changed, claims }))
    }
}

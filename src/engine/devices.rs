//! What is known of boards, and how it changes.

use serde_json::{Map, Value};

use super::instances::has_no_link;
use super::{Engine, EngineError, outlets};
use crate::actions;
use crate::machine::MachineName;
use crate::store::actions as waiting;
use crate::store::devices::{self, Device, Wiring};
use crate::store::history::{self, NewEntry};
use crate::store::instances::{self, Target};

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
    /// Changes what is known of a board.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such board; [`EngineError::Taken`] when the MAC address or the
    /// power outlet is another board's; [`EngineError::Linked`] when the present one may have a boot link. Nothing was written.
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
        // Boards that share an outlet since before that was refused may be changed otherwise.
        let outlet = outlets::outlet_of(&device).filter(|_| changed.contains_key("power_url"));
        let rival = devices::find_rival(&mut tx, Some(locked.id), &device.mac, outlet.as_deref()).await?;
        if rival.is_some() {
            return Err(outlets::taken(&device, rival));
        }
        let wiring = changed.contains_key("power_url").then(|| Wiring {
            id: locked.id,
            name: name.to_owned(),
            power_url: device.power_url.clone(),
            outlet,
        });
        let saved = async {
            devices::save(&mut tx, locked.id, &device).await?;
            devices::save_outlets(&mut tx, wiring.as_slice()).await
        };
        saved.await.map_err(|error| outlets::or_taken(error, &device))?;
        self.append_change(&mut tx, locked.id, &locked.instance).await?;
        if changed.contains_key("power_url") {
            let place = device.power_url.as_deref().and_then(actions::power_resource);
            waiting::move_waiting(&mut tx, locked.id, place.as_deref()).await?;
        }
        for fact in changed.keys() {
            for action in self.kinds().begun_anew_by(fact) {
                waiting::renew(&mut tx, locked.id, action, self.clock().now()).await?;
            }
        }
        instances::touch(&mut tx, &[locked.id]).await?;
        let changed = NewEntry { evidence: Some(changed), ..self.note_of(&locked, "changed", sender) };
        history::append(&mut tx, &changed).await?;
        let life = tx.life();
        tx.commit().await?;
        self.learn(life, locked.id, &locked.instance);
        Ok(())
    }
}

//! What is known of a board besides its lifecycle, and how people say it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::field::{DEVICE_FIELDS, FieldDefault};
use crate::machine::Instance;
use crate::store::instances::InstanceId;

/// What is known of a board besides its lifecycle. What else there is to say of each is in [`DEVICE_FIELDS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its network address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// Its type of hardware, which says what boots on it.
    pub hardware: String,
    /// The host name or address that it answers on.
    pub fqdn: String,
    /// Where its power is switched.
    pub power_url: Option<String>,
    /// What answers when it is up.
    pub poll_url: Option<String>,
    /// Which part of the farm it belongs to.
    pub environment: String,
    /// Words by which it is told apart from others.
    pub labels: Vec<String>,
    /// What people wrote about it; where it is read for decisions and actions only, nothing.
    #[serde(default)]
    pub comments: String,
}

/// A board with its lifecycle.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// Its number.
    pub id: InstanceId,
    /// Its lifecycle; the board's name is the instance's.
    pub instance: Instance,
    /// The rest.
    pub device: Device,
}

/// A change to what is known of a board, field by field; what is not said stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceChange(Map<String, Value>);

impl Device {
    /// Reads what somebody says of the new board `name`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub fn read(name: &str, said: &Map<String, Value>) -> Result<Self, String> {
        refuse_unknown(said, &["name"])?;
        let mut known = Map::new();
        for field in DEVICE_FIELDS {
            let value = match (said.get(field.name), field.default) {
                (Some(Value::Null) | None, FieldDefault::BoardName) => field.read(&Value::from(name))?,
                (Some(said), _) => field.read(said)?,
                (None, FieldDefault::Required) => return Err(format!("missing field `{}`", field.name)),
                (None, FieldDefault::Null | FieldDefault::Empty) => field.read(&Value::Null)?,
            };
            known.insert(field.name.to_owned(), value);
        }
        serde_json::from_value(Value::Object(known)).map_err(|error| error.to_string())
    }

    /// All that is known, field by field.
    #[must_use]
    pub fn to_fields(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(known)) => known,
            // A struct is an object.
            Ok(_) | Err(_) => Map::new(),
        }
    }
}

impl DeviceChange {
    /// Reads what somebody says of a board that there is (Source: RFC 7396: what is left out stays, null removes).
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub fn read(said: &Map<String, Value>) -> Result<Self, String> {
        refuse_unknown(said, &[])?;
        let mut change = Map::new();
        for field in DEVICE_FIELDS {
            if let Some(said) = said.get(field.name) {
                change.insert(field.name.to_owned(), field.read(said)?);
            }
        }
        Ok(Self(change))
    }

    /// What it makes of the field `name`, where it says something of it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Makes the change, and says what it was: field → new value.
    pub(super) fn make(&self, device: &mut Device) -> Map<String, Value> {
        let mut known = device.to_fields();
        let mut changed = self.0.clone();
        changed.retain(|field, value| known.get(field) != Some(value));
        known.extend(changed.clone());
        if let Ok(new) = serde_json::from_value(Value::Object(known)) {
            *device = new;
        }
        changed
    }
}

/// Refuses what nobody can say of a board.
fn refuse_unknown(said: &Map<String, Value>, more: &[&str]) -> Result<(), String> {
    let fields = || more.iter().copied().chain(DEVICE_FIELDS.iter().map(|field| field.name));
    let Some(unknown) = said.keys().find(|key| !fields().any(|field| field == *key)) else { return Ok(()) };
    let known: Vec<String> = fields().map(|field| format!("`{field}`")).collect();
    Err(format!("unknown field `{unknown}`, expected one of {}", known.join(", ")))
}

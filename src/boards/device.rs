//! The inventory data of a board, and how it is registered and changed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::field::{DEVICE_FIELDS, FieldDefault};
use crate::machine::Instance;
use crate::store::instances::InstanceId;

/// The inventory data of a board. [`DEVICE_FIELDS`] describes each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its MAC address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// Its type of hardware, which determines its boot configs.
    pub hardware: String,
    /// Its host name or address.
    pub fqdn: String,
    /// The URL of the outlet that switches its power.
    pub power_url: Option<String>,
    /// The URL that answers when it is up.
    pub poll_url: Option<String>,
    /// The part of the farm that it belongs to.
    pub environment: String,
    /// Labels, by which boards are selected.
    pub labels: Vec<String>,
    /// Comments of operators; empty if read only for decisions and actions.
    #[serde(default)]
    pub comments: String,
}

/// A board with its lifecycle.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// Its ID.
    pub id: InstanceId,
    /// Its lifecycle; the board's name is the instance's.
    pub instance: Instance,
    /// Its inventory data.
    pub device: Device,
}

/// A change of a board's inventory data, by field; other fields stay unchanged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceChange(Map<String, Value>);

impl Device {
    /// Reads the fields of the new board `name`.
    ///
    /// # Errors
    ///
    /// What is wrong, and what is expected.
    pub fn read(name: &str, fields: &Map<String, Value>) -> Result<Self, String> {
        refuse_unknown(fields, &["name"])?;
        let mut known = Map::new();
        for field in DEVICE_FIELDS {
            let value = match (fields.get(field.name), field.default) {
                (Some(Value::Null) | None, FieldDefault::BoardName) => field.read(&Value::from(name))?,
                (Some(value), _) => field.read(value)?,
                (None, FieldDefault::Required) => return Err(format!("missing field `{}`", field.name)),
                (None, FieldDefault::Null | FieldDefault::Empty) => field.read(&Value::Null)?,
            };
            known.insert(field.name.to_owned(), value);
        }
        serde_json::from_value(Value::Object(known)).map_err(|error| error.to_string())
    }

    /// Returns all fields.
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
    /// Reads a change of a registered board: fields that are left out stay, null removes.
    ///
    /// Source: RFC 7396.
    ///
    /// # Errors
    ///
    /// What is wrong, and what is expected.
    pub fn read(fields: &Map<String, Value>) -> Result<Self, String> {
        refuse_unknown(fields, &[])?;
        let mut change = Map::new();
        for field in DEVICE_FIELDS {
            if let Some(value) = fields.get(field.name) {
                change.insert(field.name.to_owned(), field.read(value)?);
            }
        }
        Ok(Self(change))
    }

    /// Returns the new value of the field `name`, if it is changed.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Applies the change, and returns the fields that changed with their new values.
    pub(super) fn apply_to(&self, device: &mut Device) -> Map<String, Value> {
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

/// Refuses unknown fields.
fn refuse_unknown(given: &Map<String, Value>, more: &[&str]) -> Result<(), String> {
    let fields = || more.iter().copied().chain(DEVICE_FIELDS.iter().map(|field| field.name));
    let Some(unknown) = given.keys().find(|key| !fields().any(|field| field == *key)) else { return Ok(()) };
    let known: Vec<String> = fields().map(|field| format!("`{field}`")).collect();
    Err(format!("unknown field `{unknown}`, expected one of {}", known.join(", ")))
}

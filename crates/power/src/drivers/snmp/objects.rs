//! The objects of one outlet: what is set, what is read, and which values mean on and off.

use async_snmp::{Oid, Value};

use super::profiles::{DeviceProfile, PROFILES};
use super::security::SnmpVersion;
use crate::outlet::PowerState;
use crate::parameters::{PowerUrlParameters, number};

/// The parameters that describe the objects with `device=oid`.
const OBJECT_PARAMETERS: [&str; 8] =
    ["oid", "off-oid", "read-oid", "on-value", "off-value", "on-reading", "off-reading", "type"];

/// An object and the value that it is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SnmpOrder {
    pub(super) oid: Oid,
    pub(super) value: Value,
}

/// The objects of one outlet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SnmpObjects {
    /// The outlet in canonical spelling: `3?device=apc`.
    pub(super) canonical: String,
    /// Its index, for the evidence: `3`.
    pub(super) index: String,
    pub(super) on: SnmpOrder,
    pub(super) off: SnmpOrder,
    /// What is read.
    pub(super) state: Oid,
    /// The name of what is read, or its OID, for the evidence.
    pub(super) state_name: String,
    /// The values that are read of an outlet that is on.
    on_reading: String,
    /// The values that are read of an outlet that is off.
    off_reading: String,
    /// What is read too, as evidence of a load.
    pub(super) detection: Option<Oid>,
}

impl SnmpObjects {
    /// Parses the path of a power URL and the parameters `device`, `oid` and others. Returns the default version too.
    pub(super) fn parse(path: &str, parameters: &PowerUrlParameters) -> Result<(Self, SnmpVersion), String> {
        let Some(device) = parameters.get("device") else {
            return Err(format!("`device` is missing; write {}", devices()));
        };
        if device == "oid" {
            return Ok((Self::from_parameters(path, parameters)?, SnmpVersion::V2c));
        }
        if let Some(name) = OBJECT_PARAMETERS.iter().find(|name| parameters.get(name).is_some()) {
            return Err(format!("`{name}` needs `device=oid`"));
        }
        let profile = PROFILES.iter().find(|profile| profile.name == device);
        let profile = profile.ok_or_else(|| format!("`device={device}`: write {}", devices()))?;
        Ok((Self::from_profile(path, profile)?, profile.version))
    }

    fn from_profile(path: &str, profile: &DeviceProfile) -> Result<Self, String> {
        let form = match profile.unit {
            Some((unit, default)) => {
                format!("a number from 1, or `{unit}.NUMBER`; {unit} is {default} by default")
            }
            None => "a number from 1".to_owned(),
        };
        let index = match (profile.unit, index(path).as_deref()) {
            (Some((_, unit)), Some(&[outlet])) if outlet > 0 => vec![unit, outlet],
            (Some(_), Some(&[unit, outlet])) if outlet > 0 => vec![unit, outlet],
            (None, Some(&[outlet])) if outlet > 0 => vec![outlet],
            _ => {
                return Err(format!(
                    "`{path}` is not an outlet of `device={}`; an outlet is {form}",
                    profile.name
                ));
            }
        };
        let order = |(text, value): (&str, i32)| -> Result<SnmpOrder, String> {
            Ok(SnmpOrder { oid: instance(text, &index)?, value: Value::Integer(value) })
        };
        let (state, state_name) = profile.state;
        let (on_reading, off_reading) = profile.readings;
        let shown = dotted(&index);
        Ok(Self {
            canonical: format!("{shown}?device={}", profile.name),
            on: order(profile.on)?,
            off: order(profile.off)?,
            state: instance(state, &index)?,
            state_name: state_name.to_owned(),
            on_reading: on_reading.to_string(),
            off_reading: off_reading.to_string(),
            detection: profile.detection.map(|detection| instance(detection, &index)).transpose()?,
            index: shown,
        })
    }

    fn from_parameters(path: &str, parameters: &PowerUrlParameters) -> Result<Self, String> {
        let index = index(path).ok_or_else(|| {
            format!(
                "`{path}` is not an index; an index is a number, or numbers separated by dots, such as `5.0`"
            )
        })?;
        let required = |name: &str| {
            parameters.get(name).ok_or_else(|| {
                format!("`device=oid` needs `{name}`; it needs at least `oid`, `on-value` and `off-value`")
            })
        };
        let oid = |name: &str, default: &Oid| {
            parameters.get(name).map_or(Ok(default.clone()), |text| {
                instance(text, &index).map_err(|problem| format!("`{name}={text}`: {problem}"))
            })
        };
        let text = required("oid")?;
        let on_oid = instance(text, &index).map_err(|problem| format!("`oid={text}`: {problem}"))?;
        let (on_value, off_value) = (required("on-value")?, required("off-value")?);
        let on = SnmpOrder { value: value(parameters, "on-value", on_value)?, oid: on_oid };
        let off =
            SnmpOrder { value: value(parameters, "off-value", off_value)?, oid: oid("off-oid", &on.oid)? };
        if on == off {
            return Err(
                "on and off set the same object to the same value; write `off-oid` or another `off-value`"
                    .to_owned(),
            );
        }
        let state = oid("read-oid", &on.oid)?;
        let reading = |name: &str, order: &SnmpOrder| {
            parameters.get(name).map_or_else(|| order.value.to_string(), str::to_owned)
        };
        let (on_reading, off_reading) = (reading("on-reading", &on), reading("off-reading", &off));
        if on_reading == off_reading {
            return Err(format!(
                "an outlet that is on and one that is off both read `{on_reading}`; write `on-reading` and `off-reading`"
            ));
        }
        Ok(Self {
            canonical: canonical(&on.oid),
            index: dotted(&index),
            on,
            off,
            state_name: state.to_string(),
            state,
            on_reading,
            off_reading,
            detection: None,
        })
    }

    /// The same objects, with nothing but the state to read.
    pub(super) fn without_detection(self) -> Self {
        Self { detection: None, ..self }
    }

    /// What is set for a state.
    pub(super) fn order(&self, state: PowerState) -> &SnmpOrder {
        match state {
            PowerState::On => &self.on,
            PowerState::Off => &self.off,
        }
    }

    /// The state that a value means, if it means one.
    pub(super) fn power_state(&self, value: &Value) -> Option<PowerState> {
        let text = value.to_string();
        if text == self.on_reading {
            Some(PowerState::On)
        } else if text == self.off_reading {
            Some(PowerState::Off)
        } else {
            None
        }
    }
}

/// The canonical spelling of an outlet by the object that switches it on: that of a profile with the same object, if there is
/// one.
fn canonical(on_oid: &Oid) -> String {
    let by_profile = PROFILES.iter().find_map(|profile| {
        let object = Oid::parse(profile.on.0).ok()?;
        let index = on_oid.arcs().strip_prefix(object.arcs())?;
        let arcs = if profile.unit.is_some() { 2 } else { 1 };
        (index.len() == arcs).then(|| format!("{}?device={}", dotted(index), profile.name))
    });
    by_profile.unwrap_or_else(|| format!("{on_oid}?device=oid"))
}

/// The values of `device`.
pub(super) fn devices() -> String {
    let names: Vec<_> = PROFILES.iter().map(|profile| format!("`device={}`", profile.name)).collect();
    format!("{} or `device=oid`", names.join(", "))
}

/// Parses numbers separated by dots.
fn index(path: &str) -> Option<Vec<u32>> {
    path.split('.').map(|part| if part.is_empty() { None } else { number(part) }).collect()
}

pub(super) fn dotted(index: &[u32]) -> String {
    index.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// Parses an OID.
pub(super) fn object(text: &str) -> Result<Oid, String> {
    let is_dotted = text.split('.').all(|part| number::<u32>(part).is_some() && !part.is_empty());
    let object = if is_dotted { Oid::parse(text).ok() } else { None };
    object.ok_or_else(not_an_oid)
}

/// The instance of an object with this index.
fn instance(text: &str, index: &[u32]) -> Result<Oid, String> {
    let instance = Oid::new(object(text)?.arcs().iter().chain(index).copied());
    if instance.len() <= index.len() + 1 || instance.validate_for_wire().is_err() {
        return Err(not_an_oid());
    }
    Ok(instance)
}

fn not_an_oid() -> String {
    "it is not an OID; an OID is numbers separated by dots, such as `1.3.6.1.4.1.318`".to_owned()
}

/// A value of the type that the parameter `type` names.
fn value(parameters: &PowerUrlParameters, name: &str, text: &str) -> Result<Value, String> {
    let bad = |form: &str| format!("`{name}={text}`: {form}");
    match parameters.get("type") {
        None | Some("integer") => text.parse().map(Value::Integer).map_err(|_| {
            bad("an integer is a number from -2147483648 to 2147483647; for other values write `type=unsigned` or `type=string`")
        }),
        Some("unsigned") => {
            number(text).map(Value::Gauge32).ok_or_else(|| bad("an unsigned integer is a number from 0 to 4294967295"))
        }
        Some("string") => Ok(Value::from(text)),
        Some(other) => Err(format!("`type={other}`: write `integer`, `unsigned` or `string`")),
    }
}

//! Settings of actions (`with:` in a machine definition): each kind has a type, which is read and checked when a definition
//! is loaded.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::machine::{SettingFault, nearest, reword_library_error};

/// The settings of one kind of action. All of them are optional.
///
/// The type refuses unknown fields (`#[serde(default, deny_unknown_fields)]`).
pub trait ActionSettings: Default + Serialize + DeserializeOwned + Send + Sync {
    /// The descriptions of the fields.
    const FIELDS: &'static [SettingField];

    /// Checks conditions on several fields.
    ///
    /// # Errors
    ///
    /// [`SettingFault`] with the correct form.
    fn check(&self) -> Result<(), SettingFault> {
        Ok(())
    }
}

/// The description of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingField {
    /// Its name.
    pub name: &'static str,
    /// Its form with its unit: `a time such as 30s`.
    pub form: &'static str,
    /// Its purpose.
    pub about: &'static str,
}

/// A setting with its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingInfo {
    /// Its description.
    pub field: SettingField,
    /// Its default as written in a definition, where it has one.
    pub default: Option<String>,
}

/// A fault of the setting `key`.
pub(super) fn setting_fault(key: &str, message: impl Into<String>) -> SettingFault {
    SettingFault { key: Some(key.to_owned()), message: message.into() }
}

/// A fault of the settings as a whole.
pub(super) fn settings_fault(message: impl Into<String>) -> SettingFault {
    SettingFault { key: None, message: message.into() }
}

/// The settings of an action that has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoSettings {}

impl ActionSettings for NoSettings {
    const FIELDS: &'static [SettingField] = &[];
}

/// Lists the settings of `S` with their defaults.
pub(super) fn list<S: ActionSettings>() -> Vec<SettingInfo> {
    let defaults = serde_json::to_value(S::default()).unwrap_or_default();
    let default = |field: &SettingField| match defaults.get(field.name)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(all) => (!all.is_empty()).then(|| Value::from(all.as_slice()).to_string()),
        Value::Object(all) => (!all.is_empty()).then(|| Value::from(all.clone()).to_string()),
        Value::Bool(_) | Value::Number(_) => defaults.get(field.name).map(Value::to_string),
    };
    S::FIELDS.iter().map(|field| SettingInfo { field: *field, default: default(field) }).collect()
}

/// Reads settings and finds all of their faults.
///
/// # Errors
///
/// The faults, in the order of the settings.
pub(super) fn read<S: ActionSettings>(settings: &Map<String, Value>) -> Result<S, Vec<SettingFault>> {
    let faults: Vec<SettingFault> =
        settings.iter().filter_map(|(key, value)| find_fault::<S>(key, value)).collect();
    if faults.is_empty() { read_together(settings.clone()) } else { Err(faults) }
}

/// Reads the valid settings and ignores the others.
///
/// # Errors
///
/// The faults of the valid settings as a whole.
pub(super) fn read_valid<S: ActionSettings>(settings: &Map<String, Value>) -> Result<S, Vec<SettingFault>> {
    let good = settings.iter().filter(|(key, value)| find_fault::<S>(key, value).is_none());
    read_together(good.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn read_together<S: ActionSettings>(settings: Map<String, Value>) -> Result<S, Vec<SettingFault>> {
    let read = serde_json::from_value::<S>(Value::Object(settings));
    let settings = read.map_err(|error| vec![settings_fault(reword_library_error(&error.to_string()))])?;
    settings.check().map_err(|fault| vec![fault])?;
    Ok(settings)
}

/// Finds the fault of a single setting.
fn find_fault<S: ActionSettings>(key: &str, value: &Value) -> Option<SettingFault> {
    let Some(field) = S::FIELDS.iter().find(|field| field.name == key) else {
        let shown: String = key.chars().take(80).collect();
        let message = match nearest(&shown, S::FIELDS.iter().map(|field| field.name)) {
            Some(near) => format!("unknown setting `{shown}`; did you mean `{near}`? {}", list_names::<S>()),
            None => format!("unknown setting `{shown}`. {}", list_names::<S>()),
        };
        return Some(setting_fault(key, message));
    };
    let alone = Map::from_iter([(key.to_owned(), value.clone())]);
    let error = serde_json::from_value::<S>(Value::Object(alone)).err()?;
    let message = format!("`{key}`: {}; it is {}", reword_library_error(&error.to_string()), field.form);
    Some(setting_fault(key, message))
}

/// Lists all settings in a sentence.
fn list_names<S: ActionSettings>() -> String {
    let describe = |info: SettingInfo| {
        let SettingField { name, form, .. } = info.field;
        match info.default {
            Some(default) => format!("`{name}` ({form}; {default} if left out)"),
            None => format!("`{name}` ({form})"),
        }
    };
    match list::<S>() {
        all if all.is_empty() => "This action has no settings".to_owned(),
        all => format!("The settings are {}", all.into_iter().map(describe).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::poll::PollSettings;
    use super::*;

    fn map(settings: &Value) -> Map<String, Value> {
        settings.as_object().unwrap().clone()
    }

    #[test]
    fn settings_that_are_left_out_have_their_defaults() {
        let settings: PollSettings = read(&map(&json!({ "interval": "1m 30s" }))).unwrap();
        assert_eq!(settings, PollSettings { interval: Duration::from_secs(90), ..PollSettings::default() });
        let listed = list::<PollSettings>().into_iter().map(|info| (info.field.name, info.default.unwrap()));
        let expected = [("interval", "30s"), ("failures", "3"), ("limit", "5s")];
        assert_eq!(listed.collect::<Vec<_>>(), expected.map(|(name, default)| (name, default.to_owned())));
    }

    #[test]
    fn a_bad_setting_is_refused_with_the_right_form() {
        for (settings, key, right) in [
            (json!({ "interval": 30 }), "interval", "expected a string"),
            (json!({ "interval": "30" }), "interval", "`30s`"),
            (json!({ "limit": "0s" }), "limit", "`500ms`"),
            (json!({ "failures": 0 }), "failures", "at least 1"),
            (json!({ "failures": "3" }), "failures", "expected a whole number"),
            (
                json!({ "intervall": "30s" }),
                "intervall",
                "did you mean `interval`? The settings are `interval` (a time",
            ),
            (
                json!({ "often": true }),
                "often",
                "`failures` (a whole number, from 1; 3 if left out), `limit`",
            ),
        ] {
            let faults = read::<PollSettings>(&map(&settings)).unwrap_err();
            assert_eq!(faults.len(), 1, "{settings}: {faults:?}");
            assert_eq!(faults[0].key.as_deref(), Some(key));
            assert!(faults[0].message.contains(right), "{settings}: {faults:?}");
        }
    }

    #[test]
    fn all_faults_are_reported_and_valid_settings_are_read() {
        let settings = map(&json!({ "intervall": "30s", "failures": 2, "limit": 5 }));
        let faults = read::<PollSettings>(&settings).unwrap_err();
        let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_deref().unwrap()).collect();
        assert_eq!(keys, ["intervall", "limit"]);
        let rest: PollSettings = read_valid(&settings).unwrap();
        assert_eq!(rest, PollSettings { failures: 2, ..PollSettings::default() });
    }
}

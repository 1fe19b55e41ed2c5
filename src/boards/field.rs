//! The fields of a board's inventory data.
//!
//! Registration, changes, lists and their filters, facts of guards and actions, the API and the command line are driven by
//! this table. A new field needs an entry here, a field of [`Device`](super::Device), and a column.

use serde::Deserialize;
use serde_json::{Value, json};

use super::checks::{any_text, checked_host, checked_mac, checked_poll_url, checked_power_url};
use super::checks::{checked_labels, checked_name};
use crate::actions::power_schemes;
use crate::machine::{FactKind, reword_library_error};

/// A field of a board's inventory data.
#[derive(Debug, Clone, Copy)]
pub struct DeviceField {
    /// Its name in JSON, the database and the command line.
    pub name: &'static str,
    /// Its description: a sentence without a full stop.
    pub about: &'static str,
    /// A longer description, if there is one.
    pub help: Option<fn() -> String>,
    /// Its value when it is not given.
    pub default: FieldDefault,
    /// The parser of its values.
    pub parser: FieldParser,
    /// The fact that guards may read.
    pub guard_fact: Option<GuardFact>,
    /// Whether actions get it.
    pub is_for_actions: bool,
    /// Whether lists show it; secret fields are shown only with their board.
    pub is_listed: bool,
    /// The filter of lists by this field.
    pub filter: Option<FieldFilter>,
}

/// The value of a field that is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldDefault {
    /// The field is required.
    Required,
    /// The board's name.
    BoardName,
    /// Null.
    Null,
    /// Empty text.
    Empty,
}

/// A parser of the values of a field.
#[derive(Debug, Clone, Copy)]
pub enum FieldParser {
    /// A text: returns the stored spelling, or what is wrong.
    Text(fn(&str) -> Result<String, String>),
    /// A list: returns the stored value, or what is wrong.
    List(fn(&Value) -> Result<Value, String>),
}

/// A fact that guards read.
#[derive(Debug, Clone, Copy)]
pub struct GuardFact {
    /// Its name in definitions.
    pub name: &'static str,
    /// The type of its value.
    pub kind: FactKind,
    /// Computes the fact from the field.
    pub from_field: fn(&Value) -> Value,
}

/// A filter of lists.
#[derive(Debug, Clone, Copy)]
pub struct FieldFilter {
    /// Its description: a sentence without a full stop.
    pub about: &'static str,
    /// Builds the SQL condition on the board `d`, given the placeholder of the wanted value.
    pub sql: fn(&str) -> String,
    /// Builds the message that no board has a value.
    pub none_has: fn(&str) -> String,
}

/// A field with all defaults.
const DEFAULT_FIELD: DeviceField = DeviceField {
    name: "",
    about: "",
    help: None,
    default: FieldDefault::Null,
    parser: FieldParser::Text(any_text),
    guard_fact: None,
    is_for_actions: false,
    is_listed: false,
    filter: None,
};

/// All fields of a board's inventory data.
pub const DEVICE_FIELDS: &[DeviceField] = &[
    DeviceField {
        name: "mac",
        about: "Its MAC address, such as aa:bb:cc:dd:ee:ff",
        default: FieldDefault::Required,
        parser: FieldParser::Text(checked_mac),
        guard_fact: Some(text_fact("mac")),
        is_for_actions: true,
        is_listed: true,
        ..DEFAULT_FIELD
    },
    DeviceField {
        name: "hardware",
        about: "Its type of hardware",
        default: FieldDefault::Required,
        parser: FieldParser::Text(checked_name),
        guard_fact: Some(text_fact("hardware")),
        is_for_actions: true,
        is_listed: true,
        filter: Some(FieldFilter {
            about: "Only this type of hardware",
            sql: |value| format!("d.hardware = {value}"),
            none_has: |value| format!("no board has hardware `{value}`"),
        }),
        ..DEFAULT_FIELD
    },
    DeviceField {
        name: "fqdn",
        about: "The host name or address that it answers on [default: its name]",
        default: FieldDefault::BoardName,
        parser: FieldParser::Text(checked_host),
        guard_fact: Some(text_fact("fqdn")),
        is_for_actions: true,
        is_listed: true,
        ..DEFAULT_FIELD
    },
    DeviceField {
        name: "power_url",
        about: "Where its power is switched, such as `modbus://relay-3.lab:502/5`; without it a board takes no request that \
                cycles its power",
        help: Some(power_help),
        parser: FieldParser::Text(checked_power_url),
        // It may hold a password.
        guard_fact: Some(GuardFact {
            name: "power",
            kind: FactKind::Boolean,
            from_field: |url| json!(!url.is_null()),
        }),
        is_for_actions: true,
        ..DEFAULT_FIELD
    },
    DeviceField {
        name: "poll_url",
        about: "What answers when it is up: `tcp://HOST:PORT` or `http://HOST:PORT/PATH` [default: it is not polled]",
        parser: FieldParser::Text(checked_poll_url),
        is_for_actions: true,
        ..DEFAULT_FIELD
    },
    DeviceField {
        name: "environment",
        about: "Which part of the farm it belongs to",
        default: FieldDefault::Empty,
        parser: FieldParser::Text(checked_name),
        guard_fact: Some(text_fact("environment")),
        is_for_actions: true,
        is_listed: true,
        filter: Some(FieldFilter {
            about: "Only this environment",
            sql: |value| format!("d.environment = {value}"),
            none_has: |value| format!("no board is in the environment `{value}`"),
        }),
        ..DEFAULT_FIELD
    },
    DeviceField {
        name: "labels",
        about: "Labels by which boards are selected, separated by commas",
        default: FieldDefault::Empty,
        parser: FieldParser::List(checked_labels),
        guard_fact: Some(GuardFact { name: "labels", kind: FactKind::List, from_field: Value::clone }),
        is_for_actions: true,
        is_listed: true,
        filter: Some(FieldFilter {
            about: "Only boards with this label",
            sql: |value| format!("{value} = ANY (d.labels)"),
            none_has: |value| format!("no board has the label `{value}`"),
        }),
        ..DEFAULT_FIELD
    },
    DeviceField {
        name: "comments",
        about: "Comments for operators",
        default: FieldDefault::Empty,
        is_listed: true,
        ..DEFAULT_FIELD
    },
];

/// A text that guards read unchanged.
const fn text_fact(name: &'static str) -> GuardFact {
    GuardFact { name, kind: FactKind::Text, from_field: Value::clone }
}

/// Builds the help of power URLs from all schemes.
fn power_help() -> String {
    let schemes = power_schemes().iter().map(|scheme| format!("\n\n{}", scheme.help()));
    format!(
        "Where its power is switched; without it a board takes no request that cycles its power{}",
        schemes.collect::<String>()
    )
}

impl DeviceField {
    /// Parses a given value, and returns the stored one.
    ///
    /// # Errors
    ///
    /// What is wrong, and what is expected.
    pub fn read(&self, given: &Value) -> Result<Value, String> {
        let read = match (self.default, given, self.parser) {
            (FieldDefault::Null, Value::Null, _) => Ok(Value::Null),
            (FieldDefault::Empty, Value::Null, FieldParser::Text(_)) => Ok(Value::from("")),
            (_, _, FieldParser::List(check)) => check(given),
            (default, _, FieldParser::Text(check)) => String::deserialize(given)
                .map_err(|error| reword_library_error(&error.to_string()))
                .and_then(|text| {
                    let is_empty = default == FieldDefault::Empty && text.is_empty();
                    if is_empty { Ok(text) } else { check(&text) }
                })
                .map(Value::from),
        };
        read.map_err(|fault| format!("{}: {fault}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::device::Device;
    use super::*;

    #[test]
    fn the_table_has_exactly_the_fields_of_a_device() {
        let device = Device {
            mac: String::new(),
            hardware: String::new(),
            fqdn: String::new(),
            power_url: None,
            poll_url: None,
            environment: String::new(),
            labels: Vec::new(),
            comments: String::new(),
        };
        let fields = device.to_fields();
        let names: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(DEVICE_FIELDS.iter().map(|field| field.name).collect::<BTreeSet<_>>(), names);
    }
}

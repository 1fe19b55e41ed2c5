//! What is known of a board, field by field. Registration, changes, lists and their filters, the facts of conditions and
//! actions, the API's answers and the command line go by this table, so that whoever adds something adds a line here, one in
//! [`Device`](super::Device), and a column.

use serde::Deserialize;
use serde_json::{Value, json};

use super::checks::{any_text, checked_host, checked_mac, checked_poll_url, checked_power_url};
use super::checks::{checked_labels, checked_name};
use crate::actions::power_schemes;
use crate::machine::{FactKind, reword_library_error};

/// One thing that is known of a board.
#[derive(Debug, Clone, Copy)]
pub struct DeviceField {
    /// By which JSON, the database and the command line know it.
    pub name: &'static str,
    /// What it is, in a sentence without its full stop.
    pub about: &'static str,
    /// The same at length, where there is more to say.
    pub help: Option<fn() -> String>,
    /// What it is where nobody has said.
    pub default: FieldDefault,
    /// What its values are.
    pub parser: FieldParser,
    /// By what conditions may read it.
    pub guard_fact: Option<GuardFact>,
    /// Whether actions get it.
    pub is_for_actions: bool,
    /// Whether lists show it; what is secret is shown nowhere else than with its board.
    pub is_listed: bool,
    /// How lists are filtered by it.
    pub filter: Option<FieldFilter>,
}

/// What a field is where nobody has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldDefault {
    /// It has to be said.
    Required,
    /// The board's name.
    BoardName,
    /// Nothing.
    Null,
    /// Empty.
    Empty,
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy)]
pub enum FieldParser {
    /// A text: gives it in the spelling in which it is kept, or says what is wrong with it.
    Text(fn(&str) -> Result<String, String>),
    /// Anything else: the same for any JSON.
    Json(fn(&Value) -> Result<Value, String>),
}

/// A fact as conditions read it.
#[derive(Debug, Clone, Copy)]
pub struct GuardFact {
    /// By which name.
    pub name: &'static str,
    /// What kind of value it is.
    pub kind: FactKind,
    /// The fact, made of the field.
    pub from_field: fn(&Value) -> Value,
}

/// A filter of lists.
#[derive(Debug, Clone, Copy)]
pub struct FieldFilter {
    /// What it is for, in a sentence without its full stop.
    pub about: &'static str,
    /// The SQL that says whether the board `d` is wanted, made of the place of the value that is asked for.
    pub sql: fn(&str) -> String,
    /// Says of a value that no board has it.
    pub none_has: fn(&str) -> String,
}

/// A field of which nothing is known but the board itself.
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

/// All that is known of a board besides its lifecycle.
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
        about: "Words by which it is told apart from others, separated by commas",
        default: FieldDefault::Empty,
        parser: FieldParser::Json(checked_labels),
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
        about: "What people should know of it",
        default: FieldDefault::Empty,
        is_listed: true,
        ..DEFAULT_FIELD
    },
];

/// A text that conditions read as it is.
const fn text_fact(name: &'static str) -> GuardFact {
    GuardFact { name, kind: FactKind::Text, from_field: Value::clone }
}

/// What a power URL may be, by all schemes that there are.
fn power_help() -> String {
    let schemes = power_schemes().iter().map(|scheme| format!("\n\n{}", scheme.help()));
    format!(
        "Where its power is switched; without it a board takes no request that cycles its power{}",
        schemes.collect::<String>()
    )
}

impl DeviceField {
    /// Reads what somebody says, and gives it as it is kept.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub fn read(&self, said: &Value) -> Result<Value, String> {
        let read = match (self.default, said, self.parser) {
            (FieldDefault::Null, Value::Null, _) => Ok(Value::Null),
            (FieldDefault::Empty, Value::Null, FieldParser::Text(_)) => Ok(Value::from("")),
            (_, _, FieldParser::Json(check)) => check(said),
            (unsaid, _, FieldParser::Text(check)) => String::deserialize(said)
                .map_err(|error| reword_library_error(&error.to_string()))
                .and_then(|text| {
                    let is_empty = unsaid == FieldDefault::Empty && text.is_empty();
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
    fn the_table_has_all_that_is_known_of_a_board_and_nothing_else() {
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
        let known = device.to_fields();
        let known: BTreeSet<&str> = known.keys().map(String::as_str).collect();
        assert_eq!(DEVICE_FIELDS.iter().map(|field| field.name).collect::<BTreeSet<_>>(), known);
    }
}

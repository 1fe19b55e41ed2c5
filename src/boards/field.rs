//! What is known of a board, field by field. Registration, changes, lists and their filters, the facts of conditions and
//! actions, the API's answers and the command line go by this table, so that whoever adds something adds a line here, one in
//! [`Device`](super::Device), and a column.

use serde::Deserialize;
use serde_json::{Value, json};

use super::checks::{any_text, checked_host, checked_mac, checked_poll_url, checked_power_url};
use super::checks::{checked_labels, checked_name};
use crate::actions::power_schemes;
use crate::machine::{FactKind, plain};

/// One thing that is known of a board.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// By which JSON, the database and the command line know it.
    pub name: &'static str,
    /// What it is, in a sentence without its full stop.
    pub about: &'static str,
    /// The same at length, where there is more to say.
    pub help: Option<fn() -> String>,
    /// What it is where nobody has said.
    pub unsaid: Unsaid,
    /// What its values are.
    pub form: Form,
    /// By what conditions may read it.
    pub condition: Option<Condition>,
    /// Whether actions get it.
    pub is_for_actions: bool,
    /// Whether lists show it; what is secret is shown nowhere else than with its board.
    pub is_listed: bool,
    /// How lists are filtered by it.
    pub filter: Option<FieldFilter>,
}

/// What a field is where nobody has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsaid {
    /// It has to be said.
    Needed,
    /// The board's name.
    Name,
    /// Nothing.
    Nothing,
    /// Empty.
    Empty,
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// A text: gives it in the spelling in which it is kept, or says what is wrong with it.
    Text(fn(&str) -> Result<String, String>),
    /// Anything else: the same for any JSON.
    Json(fn(&Value) -> Result<Value, String>),
}

/// A fact as conditions read it.
#[derive(Debug, Clone, Copy)]
pub struct Condition {
    /// By which name.
    pub name: &'static str,
    /// What kind of value it is.
    pub kind: FactKind,
    /// The fact, made of the field.
    pub fact: fn(&Value) -> Value,
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
const PLAIN: Field = Field {
    name: "",
    about: "",
    help: None,
    unsaid: Unsaid::Nothing,
    form: Form::Text(any_text),
    condition: None,
    is_for_actions: false,
    is_listed: false,
    filter: None,
};

/// All that is known of a board besides its lifecycle.
pub const FIELDS: &[Field] = &[
    Field {
        name: "mac",
        about: "Its MAC address, such as aa:bb:cc:dd:ee:ff",
        unsaid: Unsaid::Needed,
        form: Form::Text(checked_mac),
        condition: Some(same("mac")),
        is_for_actions: true,
        is_listed: true,
        ..PLAIN
    },
    Field {
        name: "hardware",
        about: "Its type of hardware",
        unsaid: Unsaid::Needed,
        form: Form::Text(checked_name),
        condition: Some(same("hardware")),
        is_for_actions: true,
        is_listed: true,
        filter: Some(FieldFilter {
            about: "Only this type of hardware",
            sql: |value| format!("d.hardware = {value}"),
            none_has: |value| format!("no board has hardware `{value}`"),
        }),
        ..PLAIN
    },
    Field {
        name: "fqdn",
        about: "The host name or address that it answers on [default: its name]",
        unsaid: Unsaid::Name,
        form: Form::Text(checked_host),
        condition: Some(same("fqdn")),
        is_for_actions: true,
        is_listed: true,
        ..PLAIN
    },
    Field {
        name: "power_url",
        about: "Where its power is switched, such as `modbus://relay-3.lab:502/5`; without it a board takes no request that \
                cycles its power",
        help: Some(power_help),
        form: Form::Text(checked_power_url),
        // It may hold a password.
        condition: Some(Condition {
            name: "power",
            kind: FactKind::Boolean,
            fact: |url| json!(!url.is_null()),
        }),
        is_for_actions: true,
        ..PLAIN
    },
    Field {
        name: "poll_url",
        about: "What answers when it is up: `tcp://HOST:PORT` or `http://HOST:PORT/PATH` [default: it is not polled]",
        form: Form::Text(checked_poll_url),
        is_for_actions: true,
        ..PLAIN
    },
    Field {
        name: "environment",
        about: "Which part of the farm it belongs to",
        unsaid: Unsaid::Empty,
        form: Form::Text(checked_name),
        condition: Some(same("environment")),
        is_for_actions: true,
        is_listed: true,
        filter: Some(FieldFilter {
            about: "Only this environment",
            sql: |value| format!("d.environment = {value}"),
            none_has: |value| format!("no board is in the environment `{value}`"),
        }),
        ..PLAIN
    },
    Field {
        name: "labels",
        about: "Words by which it is told apart from others, separated by commas",
        unsaid: Unsaid::Empty,
        form: Form::Json(checked_labels),
        condition: Some(Condition { name: "labels", kind: FactKind::List, fact: Value::clone }),
        is_for_actions: true,
        is_listed: true,
        filter: Some(FieldFilter {
            about: "Only boards with this label",
            sql: |value| format!("{value} = ANY (d.labels)"),
            none_has: |value| format!("no board has the label `{value}`"),
        }),
        ..PLAIN
    },
    Field {
        name: "comments",
        about: "What people should know of it",
        unsaid: Unsaid::Empty,
        is_listed: true,
        ..PLAIN
    },
];

/// A text that conditions read as it is.
const fn same(name: &'static str) -> Condition {
    Condition { name, kind: FactKind::Text, fact: Value::clone }
}

/// What a power URL may be, by all schemes that there are.
fn power_help() -> String {
    let schemes = power_schemes().iter().map(|scheme| format!("\n\n{}", scheme.help()));
    format!(
        "Where its power is switched; without it a board takes no request that cycles its power{}",
        schemes.collect::<String>()
    )
}

impl Field {
    /// Reads what somebody says, and gives it as it is kept.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub fn read(&self, said: &Value) -> Result<Value, String> {
        let read = match (self.unsaid, said, self.form) {
            (Unsaid::Nothing, Value::Null, _) => Ok(Value::Null),
            (Unsaid::Empty, Value::Null, Form::Text(_)) => Ok(Value::from("")),
            (_, _, Form::Json(check)) => check(said),
            (unsaid, _, Form::Text(check)) => String::deserialize(said)
                .map_err(|error| plain(&error.to_string()))
                .and_then(|text| {
                    let is_empty = unsaid == Unsaid::Empty && text.is_empty();
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
        let known = device.known();
        let known: BTreeSet<&str> = known.keys().map(String::as_str).collect();
        assert_eq!(FIELDS.iter().map(|field| field.name).collect::<BTreeSet<_>>(), known);
    }
}

//! Commands that switch outlets, by name: power URLs hold the name, the server's configuration the commands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::outlet::PowerState;
use crate::state_match::StateMatch;

/// What the device of a power URL begins with that names commands.
pub(crate) const COMMANDS_PREFIX: &str = "exec://";
/// What is replaced in a command by the outlet of the power URL.
const PLACEHOLDER: &str = "{outlet}";
/// The longest name of a table, and the longest name of an outlet.
const MAX_NAME_BYTES: usize = 64;
/// The file named in errors where no other was read.
const DEFAULT_FILE: &str = "/etc/lifeguard/lifeguard.toml";

/// The commands of one table, as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PowerCommandTexts {
    /// The program that switches an outlet on, and its arguments.
    pub on: Vec<String>,
    /// The program that switches an outlet off, and its arguments.
    pub off: Vec<String>,
    /// The program that reads an outlet, and its arguments.
    pub read: Option<Vec<String>>,
    /// A text that the output of `read` contains only if the outlet is on.
    pub on_answer: Option<String>,
    /// A text that the output of `read` contains only if the outlet is off.
    pub off_answer: Option<String>,
}

/// A fault of a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct CommandFault {
    /// The key that is to be changed.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// The commands of one table, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerCommandTable {
    on: Vec<String>,
    off: Vec<String>,
    read: Option<(Vec<String>, StateMatch)>,
}

impl PowerCommandTable {
    /// Checks a table.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub fn new(texts: PowerCommandTexts) -> Result<Self, CommandFault> {
        let fault = |key, reason: String| CommandFault { key, reason };
        let PowerCommandTexts { on, off, read, on_answer, off_answer } = texts;
        for (key, command) in [("on", Some(&on)), ("off", Some(&off)), ("read", read.as_ref())] {
            if let Some(command) = command {
                check_command(key, command)?;
            }
        }
        if on == off {
            return Err(fault("off", "`on` and `off` are the same command".to_owned()));
        }
        for (key, command) in [("off", Some(&off)), ("read", read.as_ref())] {
            if command.is_some_and(|command| takes_outlet(command) != takes_outlet(&on)) {
                let reason = format!("`{PLACEHOLDER}` stands in `on` or in `{key}`, but not in both");
                return Err(fault(key, reason));
            }
        }
        let read = match (read, on_answer, off_answer) {
            (None, None, None) => None,
            (Some(read), Some(on), Some(off)) => {
                let answers =
                    StateMatch::contained(&on, &off).map_err(|reason| fault("off-answer", reason))?;
                Some((read, answers))
            }
            (Some(_), ..) => {
                let reason = "`read` needs `on-answer` and `off-answer`: texts that its output contains only if the outlet is \
                              on or off";
                return Err(fault("read", reason.to_owned()));
            }
            (None, on, _) => {
                let key = if on.is_some() { "on-answer" } else { "off-answer" };
                return Err(fault(key, format!("`{key}` needs `read`, the command whose output it is in")));
            }
        };
        Ok(Self { on, off, read })
    }

    /// The programs of its commands, each with the key of its command.
    pub fn programs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let commands = [("on", Some(&self.on)), ("off", Some(&self.off)), ("read", self.read_command())];
        commands.into_iter().filter_map(|(key, command)| Some((key, command?.first()?.as_str())))
    }

    /// Whether its commands are for one of several outlets, which the power URL has to name.
    pub(crate) fn takes_outlet(&self) -> bool {
        takes_outlet(&self.on)
    }

    /// The command that switches `outlet`.
    pub(crate) fn order(&self, state: PowerState, outlet: &str) -> Vec<String> {
        let command = match state {
            PowerState::On => &self.on,
            PowerState::Off => &self.off,
        };
        filled(command, outlet)
    }

    /// The command that reads `outlet`, and how its output shows the state.
    pub(crate) fn reading(&self, outlet: &str) -> Option<(Vec<String>, &StateMatch)> {
        self.read.as_ref().map(|(command, answers)| (filled(command, outlet), answers))
    }

    fn read_command(&self) -> Option<&Vec<String>> {
        self.read.as_ref().map(|(command, _)| command)
    }
}

/// The power commands of this server by name. Clones share them.
#[derive(Debug, Clone)]
pub struct PowerCommands {
    by_name: Arc<BTreeMap<String, PowerCommandTable>>,
    file: Arc<Path>,
}

impl PowerCommands {
    /// The tables of the configuration file `file`, which errors name as the place for missing ones.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, by_name: BTreeMap<String, PowerCommandTable>) -> Self {
        Self { by_name: Arc::new(by_name), file: file.into().into() }
    }

    /// Returns the commands for `outlet`.
    ///
    /// # Errors
    ///
    /// What is to be changed, where there is no such table, or where it is for another number of outlets.
    pub(crate) fn find(&self, name: &str, outlet: Option<&str>) -> Result<&PowerCommandTable, String> {
        let file = self.file.display();
        let Some(table) = self.by_name.get(name) else {
            return Err(format!(
                "this server has no power commands `{name}`: add [power-commands.{name}] to {file}, and restart this server"
            ));
        };
        match (table.takes_outlet(), outlet) {
            (true, None) => Err(format!(
                "the power commands `{name}` are for several outlets (`{PLACEHOLDER}`): write exec://{name}/OUTLET"
            )),
            (false, Some(outlet)) => Err(format!(
                "the power commands `{name}` are for one outlet: write exec://{name}, or put `{PLACEHOLDER}` in the place \
                 of `{outlet}` into [power-commands.{name}] of {file}"
            )),
            (true, Some(_)) | (false, None) => Ok(table),
        }
    }
}

/// No commands.
impl Default for PowerCommands {
    fn default() -> Self {
        Self::new(DEFAULT_FILE, BTreeMap::new())
    }
}

/// Checks the name of a table.
///
/// # Errors
///
/// What a name looks like.
pub fn check_commands_name(name: &str) -> Result<(), String> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_valid) {
        return Err(format!(
            "`{name}` is not the name of power commands: letters, digits, `-` and `_`, {MAX_NAME_BYTES} at most"
        ));
    }
    Ok(())
}

/// Checks the outlet of a power URL, which becomes part of an argument: it can neither be an option nor a path.
pub(crate) fn check_outlet(outlet: &str) -> Result<(), String> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let begins_well = outlet.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins_well || outlet.len() > MAX_NAME_BYTES || !outlet.chars().all(is_valid) {
        return Err(format!(
            "`{outlet}` is not an outlet: it begins with a letter or digit and has letters, digits, `-`, `_`, `.` and `:`, \
             {MAX_NAME_BYTES} at most"
        ));
    }
    Ok(())
}

/// Checks one command.
fn check_command(key: &'static str, command: &[String]) -> Result<(), CommandFault> {
    let fault = |reason: String| Err(CommandFault { key, reason });
    let Some(program) = command.first().filter(|program| !program.is_empty()) else {
        return fault(format!(
            "`{key}` names no program; write a list such as [\"relay\", \"--{key}\", \"{PLACEHOLDER}\"]"
        ));
    };
    if program.contains('{') {
        return fault(format!(
            "`{key}`: the program `{program}` cannot have a placeholder, only its arguments"
        ));
    }
    if program.contains('/') && !program.starts_with('/') {
        return fault(format!(
            "`{key}`: the program `{program}` is relative; write its absolute path, or its name alone if it is in PATH"
        ));
    }
    for argument in command {
        if argument.contains('\0') {
            return fault(format!("`{key}`: no argument can have a NUL character"));
        }
        if let Some(unknown) = placeholders(argument).find(|placeholder| *placeholder != PLACEHOLDER) {
            return fault(format!(
                "`{key}`: unknown placeholder `{unknown}`; the only one is `{PLACEHOLDER}`"
            ));
        }
    }
    Ok(())
}

/// The placeholders in an argument: words in braces. Other braces, such as those of JSON, stand for themselves.
fn placeholders(argument: &str) -> impl Iterator<Item = &str> {
    argument.match_indices('{').filter_map(|(start, _)| {
        let rest = argument.get(start..)?;
        let placeholder = rest.get(..=rest.find('}')?)?;
        let word = placeholder.get(1..placeholder.len() - 1)?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (!word.is_empty() && word.chars().all(is_word)).then_some(placeholder)
    })
}

fn takes_outlet(command: &[String]) -> bool {
    command.iter().any(|argument| argument.contains(PLACEHOLDER))
}

fn filled(command: &[String], outlet: &str) -> Vec<String> {
    command.iter().map(|argument| argument.replace(PLACEHOLDER, outlet)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &str) -> Vec<String> {
        command.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn table(
        on: &str,
        off: &str,
        read: Option<(&str, &str, &str)>,
    ) -> Result<PowerCommandTable, CommandFault> {
        PowerCommandTable::new(PowerCommandTexts {
            on: words(on),
            off: words(off),
            read: read.map(|(read, ..)| words(read)),
            on_answer: read.map(|(_, on, _)| on.to_owned()),
            off_answer: read.map(|(.., off)| off.to_owned()),
        })
    }

    #[test]
    fn the_outlet_is_put_into_arguments_and_never_splits_them() {
        let relay =
            table("relay --set={outlet}:1", "/opt/relay {\"o\":\"{outlet}\"} {} {outlet}", None).unwrap();
        assert_eq!(relay.order(PowerState::On, "A 1"), ["relay", "--set=A 1:1"]);
        assert_eq!(relay.order(PowerState::Off, "3"), ["/opt/relay", "{\"o\":\"3\"}", "{}", "3"]);
        assert_eq!(relay.programs().collect::<Vec<_>>(), [("on", "relay"), ("off", "/opt/relay")]);
    }

    #[test]
    fn a_bad_table_is_refused_with_its_key() {
        let read = |read| Some((read, "on", "off"));
        for (on, off, read, key, reason) in [
            ("", "relay 0", None, "on", "names no program; write a list such as [\"relay\", \"--on\""),
            ("relay 1", "", None, "off", "names no program"),
            ("relay 1", "relay 1", None, "off", "the same command"),
            ("bin/relay 1", "relay 0", None, "on", "`bin/relay` is relative"),
            ("{outlet} 1", "relay 0", None, "on", "cannot have a placeholder"),
            ("relay {Outlet}", "relay {outlet}", None, "on", "unknown placeholder `{Outlet}`"),
            ("relay {outlet}", "relay 0", None, "off", "not in both"),
            ("relay 1", "relay 0", read("relay {outlet}"), "read", "not in both"),
            ("relay 1", "relay 0", read(""), "read", "names no program"),
            (
                "relay 1",
                "relay 0",
                Some(("relay", "on", "one")),
                "off-answer",
                "neither may contain the other",
            ),
            ("relay 1", "relay 0", Some(("relay", "", "off")), "off-answer", "neither may contain the other"),
        ] {
            let found = table(on, off, read).unwrap_err();
            assert!(found.key == key && found.reason.contains(reason), "{on}, {off}: {found:?}");
        }
        let texts = PowerCommandTexts { on: words("a 1"), off: words("a 0"), ..PowerCommandTexts::default() };
        let only_read = PowerCommandTexts { read: Some(words("a")), ..texts.clone() };
        assert_eq!(PowerCommandTable::new(only_read).unwrap_err().key, "read");
        let only_answer = PowerCommandTexts { off_answer: Some("0".to_owned()), ..texts };
        assert_eq!(PowerCommandTable::new(only_answer).unwrap_err().key, "off-answer");
    }

    #[test]
    fn an_outlet_is_a_plain_word() {
        for outlet in ["5", "A1", "rack-2:port_3.b"] {
            check_outlet(outlet).unwrap();
        }
        for outlet in ["", "-5", "--help", "..", ".a", "a/b", "a b", "$(id)", "a%20b", "ä", "a\n", "a;b"] {
            assert!(check_outlet(outlet).is_err(), "{outlet}");
        }
        assert!(check_outlet(&"a".repeat(MAX_NAME_BYTES)).is_ok());
        assert!(check_outlet(&"a".repeat(MAX_NAME_BYTES + 1)).is_err());
    }
}

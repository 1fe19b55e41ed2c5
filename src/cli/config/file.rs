//! Reading the configuration file: TOML whose keys are options of `serve`, and the tables of credentials and power commands.

use std::any::TypeId;
use std::error::Error;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use toml_edit::{Document, Item, Value};

use super::super::text_file::read_text_file;
use super::super::variables::without_variables;
use super::credentials::{self, CREDENTIALS_KEY, CredentialEntry};
use super::fault::{ConfigFault, ConfigText};
use super::power_commands::{self, POWER_COMMANDS_KEY, PowerCommandEntry};
use super::server_options::{conflicts, server_options};
use crate::machine::{nearest, reword_library_error, suggestion};

/// A configuration file whose values fit their options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<ConfigEntry>,
    pub(super) credentials: Vec<CredentialEntry>,
    pub(super) power_commands: Vec<PowerCommandEntry>,
}

/// What a text sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ConfigContent {
    pub(super) entries: Vec<ConfigEntry>,
    pub(super) credentials: Vec<CredentialEntry>,
    pub(super) power_commands: Vec<PowerCommandEntry>,
}

/// An option that the file sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigEntry {
    /// The name of the option, without dashes.
    pub(super) key: String,
    /// The values as they would be given on the command line; several only where the option takes a list.
    pub(super) values: Vec<String>,
    /// The line of the key, from 1.
    pub(super) line: usize,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigFileError {
    /// It cannot be read; the cause names the file.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// Its text is wrong: every fault with its position.
    #[error("{}", display_faults(path, faults))]
    Faults {
        /// The file.
        path: PathBuf,
        /// In the order of the text.
        faults: Vec<ConfigFault>,
    },
}

fn display_faults(path: &Path, faults: &[ConfigFault]) -> String {
    faults.iter().map(|fault| format!("{}:{fault}", path.display())).collect::<Vec<_>>().join("\n")
}

/// Reads and checks the file at `path` against the options of `root`'s command `serve`.
///
/// # Errors
///
/// [`ConfigFileError`]; all faults of the text are found at once.
pub(super) fn read(path: &Path, root: &Command) -> Result<ConfigFile, ConfigFileError> {
    let text = read_text_file(path)?;
    let metadata = fs_err::metadata(path)?;
    let path = path.to_owned();
    let ConfigContent { entries, credentials, power_commands } = match check(&text, root) {
        Ok(content) => content,
        Err(faults) => return Err(ConfigFileError::Faults { path, faults }),
    };
    match credentials::check_mode(&path, &metadata, &credentials, ConfigText::new(&text)) {
        Some(fault) => Err(ConfigFileError::Faults { path, faults: vec![fault] }),
        None => Ok(ConfigFile { path, entries, credentials, power_commands }),
    }
}

/// What a text sets, or all its faults.
pub(super) fn check(text: &str, root: &Command) -> Result<ConfigContent, Vec<ConfigFault>> {
    let positions = ConfigText::new(text);
    let document = Document::parse(text).map_err(|error| {
        let (line, _) = positions.position(error.span());
        let found = error.span().and_then(|span| text.get(span)).unwrap_or_default();
        vec![positions.fault(error.span(), syntax_fault(text, line, found))]
    })?;
    let options = server_options(root);
    let (mut content, mut faults) = (ConfigContent::default(), Vec::new());
    for (key, item) in document.as_table() {
        let key_span = document.get_key_value(key).and_then(|(key, _)| key.span());
        let item_span = item.span().or_else(|| key_span.clone());
        let (line, _) = positions.position(key_span.clone());
        if key == CREDENTIALS_KEY {
            match credentials::read(item, key_span, positions) {
                Ok(found) => content.credentials = found,
                Err(found) => faults.extend(found),
            }
            continue;
        }
        if key == POWER_COMMANDS_KEY {
            match power_commands::read(item, key_span, positions) {
                Ok(found) => content.power_commands = found,
                Err(found) => faults.extend(found),
            }
            continue;
        }
        let Some(option) = options.iter().find(|option| option.get_long() == Some(key)) else {
            faults.push(positions.fault(key_span, unknown_key(key, item, &options)));
            continue;
        };
        let conflict = content.entries.iter().find(|entry| conflicts(root, &entry.key, key));
        let values = match conflict {
            Some(entry) => Err((
                key_span,
                format!("`{key}` and `{}` (line {}) exclude each other", entry.key, entry.line),
            )),
            None => texts(option, item)
                .and_then(|values| parse_values(root, option, &values).map(|()| values))
                .map_err(|message| (item_span, message)),
        };
        match values {
            Ok(values) => content.entries.push(ConfigEntry { key: key.to_owned(), values, line }),
            Err((span, message)) => faults.push(positions.fault(span, message)),
        }
    }
    // Tables come after the keys that stand alone, regardless of their position in the text.
    faults.sort_by_key(|fault| (fault.line, fault.column));
    if faults.is_empty() { Ok(content) } else { Err(faults) }
}

/// Describes why `text` is not TOML: the parser refused `found` in a line.
fn syntax_fault(text: &str, line: usize, found: &str) -> String {
    let digits = found.strip_prefix(['+', '-']).unwrap_or(found);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
        let is_well_formed = !digits.starts_with('0') && digits.split('_').all(|part| !part.is_empty());
        let reason = if is_well_formed {
            "the number is too large"
        } else {
            "this is not a number in TOML: it has a leading zero or a misplaced `_`"
        };
        return reason.to_owned();
    }
    let bare = |key: &str| key.trim().trim_matches(['"', '\'']).to_owned();
    let is_same_key = |line: &str| line.split_once('=').is_some_and(|(key, _)| bare(key) == bare(found));
    let before = text.lines().take(line - 1).enumerate();
    // The last one: another table may have the same key.
    match before.filter(|(_, line)| is_same_key(line)).last() {
        Some((first, _)) => format!("`{found}` is given twice, first in line {}", first + 1),
        None => {
            "this is not TOML; a line is like `tftp-listen = \"0.0.0.0:69\"`, with text in quotes".to_owned()
        }
    }
}

/// Says which key may have been meant.
fn unknown_key(key: &str, item: &Item, options: &[Arg]) -> String {
    let known: Vec<&str> = options.iter().filter_map(Arg::get_long).collect();
    if let Some(table) = item.as_table_like() {
        let meant = nearest(key, [CREDENTIALS_KEY, POWER_COMMANDS_KEY]);
        if let Some(meant) = meant {
            return format!("unknown table `{key}`; did you mean `{meant}`?");
        }
        // `[tftp]` and `listen` instead of `tftp-listen`.
        let mut joined = table.iter().map(|(inner, _)| format!("{key}-{inner}"));
        let meant = joined.find_map(|joined| nearest(&joined, known.iter().copied()));
        let meant = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
        return format!("`{key}` is a table, and options are keys outside of tables{meant}");
    }
    format!("unknown option `{key}`{}", suggestion(key, known))
}

/// What an option takes in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueForm {
    Boolean,
    Number,
    Text,
    TextList,
}

impl ValueForm {
    pub(super) fn of(option: &Arg) -> Self {
        let value_type = option.get_value_parser().type_id();
        let is_number = [TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<usize>()]
            .into_iter()
            .any(|number| value_type == number);
        if matches!(option.get_action(), ArgAction::Append) {
            Self::TextList
        } else if value_type == TypeId::of::<bool>() {
            Self::Boolean
        } else if is_number {
            Self::Number
        } else {
            Self::Text
        }
    }

    fn needed(self, option: &Arg) -> String {
        let example = option.get_default_values().first().and_then(|value| value.to_str());
        match (self, example) {
            (Self::Boolean, _) => "`true` or `false` is needed, without quotes".to_owned(),
            (Self::Number, _) => "a whole number is needed, without quotes".to_owned(),
            (Self::Text, Some(example)) => format!("text in quotes is needed, such as \"{example}\""),
            (Self::Text, None) => "text in quotes is needed".to_owned(),
            (Self::TextList, _) => "a list of texts in quotes is needed, such as [\"a\", \"b\"]".to_owned(),
        }
    }
}

/// The values of `item` as they would be given on the command line.
fn texts(option: &Arg, item: &Item) -> Result<Vec<String>, String> {
    let form = ValueForm::of(option);
    let name = option.get_long().unwrap_or_default();
    let wrong = || format!("`{name}`: {}", form.needed(option));
    let text = |value: &Value| match value.as_str() {
        Some("") => Err(format!("`{name}` is empty; without the line, the option has its default")),
        Some(text) => Ok(text.to_owned()),
        None => Err(wrong()),
    };
    let value = item.as_value().ok_or_else(wrong)?;
    match (form, value.as_bool(), value.as_integer(), value.as_array()) {
        (ValueForm::Boolean, Some(boolean), ..) => Ok(vec![boolean.to_string()]),
        (ValueForm::Number, _, Some(number), _) => Ok(vec![number.to_string()]),
        (ValueForm::TextList, .., Some(list)) => list.iter().map(text).collect(),
        (ValueForm::Text | ValueForm::TextList, ..) => Ok(vec![text(value)?]),
        (ValueForm::Boolean | ValueForm::Number, ..) => Err(wrong()),
    }
}

/// Has the option's own parser read the values.
fn parse_values(root: &Command, option: &Arg, values: &[String]) -> Result<(), String> {
    let name = option.get_long().unwrap_or_default();
    let is_secret = option.is_hide_env_values_set();
    let command = without_variables(root).no_binary_name(true);
    let words = values.iter().map(|value| format!("--{name}={value}"));
    let parsed = command.try_get_matches_from(std::iter::once("serve".to_owned()).chain(words));
    let Err(error) = parsed else { return Ok(()) };
    let reason = reword_library_error(&reason(&error));
    Err(match values {
        [value] if !is_secret => format!("`{name}` cannot be `{value}`: {reason}"),
        _ => format!("`{name}`: {reason}"),
    })
}

/// Why a parser refused a value, without the words about the command line around it.
fn reason(error: &clap::Error) -> String {
    if let Some(ContextValue::Strings(valid)) = error.get(ContextKind::ValidValue) {
        return format!("it is one of {}", valid.join(", "));
    }
    match error.source() {
        Some(source) => source.to_string(),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::command_line::command;
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        check(text, &command()).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_are_as_on_the_command_line() {
        let text = "# ours\nlisten = \"127.0.0.1:1\"\ninsecure = true\nhttp-long-polls = 9\n\n\
                    server-name = [\"a\", \"b\"]\nlog = \"debug\"\n";
        let entries = check(text, &command()).unwrap().entries;
        let entries: Vec<_> =
            entries.iter().map(|entry| (&*entry.key, entry.values.join(" "), entry.line)).collect();
        let expected = [
            ("listen", "127.0.0.1:1", 2),
            ("insecure", "true", 3),
            ("http-long-polls", "9", 4),
            ("server-name", "a b", 6),
            ("log", "debug", 7),
        ];
        assert_eq!(entries, expected.map(|(key, value, line)| (key, value.to_owned(), line)));
        assert_eq!(check("server-name = \"a\"", &command()).unwrap().entries[0].values, ["a"]);
    }

    #[test]
    fn every_fault_has_its_position() {
        let text = "listn = \"127.0.0.1:1\"\ninsecure = \"yes\"\n[tftp]\nlisten = \"0.0.0.0:69\"\n";
        assert_eq!(
            faults(text),
            [
                "1:1: unknown option `listn`; did you mean `listen`?",
                "2:12: `insecure`: `true` or `false` is needed, without quotes",
                "3:2: `tftp` is a table, and options are keys outside of tables; did you mean `tftp-listen`?",
            ]
        );
    }

    #[test]
    fn a_password_is_in_no_fault() {
        for wrong in ["mysql://ann:sesam@h/l", "postgres://ann:sesam@h:x/l"] {
            let faults = faults(&format!("database-url = \"{wrong}\""));
            assert!(!faults.concat().contains("sesam"), "{faults:?}");
        }
    }
}

//! The commands of the configuration file that switch outlets: `[power-commands.NAME]`.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use toml_edit::Item;

use super::fault::{ConfigFault, ConfigText};
use super::named_tables::{Span, key_span, read_named_tables};
use crate::actions::{PowerCommandTable, PowerCommandTexts, PowerCommands, check_commands_name};
use crate::machine::nearest;

/// The key of the table of all power commands.
pub(super) const POWER_COMMANDS_KEY: &str = "power-commands";
/// What power commands look like.
const FORM: &str = "write [power-commands.NAME], and below it `on` and `off`, lists such as [\"relay\", \"--on\", \"{outlet}\"]";
const KEYS: [&str; 5] = ["on", "off", "read", "on-answer", "off-answer"];

/// A table of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PowerCommandEntry {
    pub(super) name: String,
    pub(super) table: PowerCommandTable,
    /// The line of its table, from 1.
    pub(super) line: usize,
}

impl PowerCommandEntry {
    /// Its programs as text; their arguments are not shown.
    pub(super) fn value_text(&self) -> String {
        let programs = self.table.programs().map(|(key, program)| format!("{key} {program}"));
        programs.collect::<Vec<_>>().join(", ")
    }

    /// Its programs as JSON.
    pub(super) fn to_json(&self) -> Value {
        let programs: BTreeMap<_, _> = self.table.programs().collect();
        json!({ "name": self.name, "line": self.line, "programs": programs })
    }
}

/// The tables in the value of [`POWER_COMMANDS_KEY`], whose key is at `span`.
pub(super) fn read(
    item: &Item,
    span: Span,
    text: ConfigText<'_>,
) -> Result<Vec<PowerCommandEntry>, Vec<ConfigFault>> {
    read_named_tables((POWER_COMMANDS_KEY, FORM), (item, span), text, |name, item, span| {
        read_entry(name, item, span, text)
    })
}

fn read_entry(
    name: &str,
    item: &Item,
    span: Span,
    text: ConfigText<'_>,
) -> Result<PowerCommandEntry, Vec<ConfigFault>> {
    let fault = |problem| vec![text.fault(span.clone(), problem)];
    let Some(table) = item.as_table_like() else {
        return Err(fault(format!("`{name}` is not a table of commands: {FORM}")));
    };
    check_commands_name(name).map_err(fault)?;
    let (mut texts, mut faults) = (PowerCommandTexts::default(), Vec::new());
    for (key, item) in table.iter() {
        let value_span = item.span().or_else(|| key_span(table, key));
        let read = match key {
            "on" => command(key, item).map(|command| texts.on = command),
            "off" => command(key, item).map(|command| texts.off = command),
            "read" => command(key, item).map(|command| texts.read = Some(command)),
            "on-answer" => answer(key, item).map(|answer| texts.on_answer = Some(answer)),
            "off-answer" => answer(key, item).map(|answer| texts.off_answer = Some(answer)),
            _ => {
                faults.push(text.fault(key_span(table, key), unknown_key(key, name)));
                continue;
            }
        };
        if let Err(problem) = read {
            faults.push(text.fault(value_span, problem));
        }
    }
    let missing = ["on", "off"].into_iter().filter(|key| !table.contains_key(key));
    faults.extend(missing.map(|key| {
        text.fault(span.clone(), format!("`{key}` of power commands `{name}` is missing: {FORM}"))
    }));
    if !faults.is_empty() {
        return Err(faults);
    }
    let checked = PowerCommandTable::new(texts).map_err(|found| {
        let found_span = table.get(found.key).and_then(Item::span).or_else(|| span.clone());
        vec![text.fault(found_span, format!("power commands `{name}`: {}", found.reason))]
    })?;
    Ok(PowerCommandEntry { name: name.to_owned(), table: checked, line: text.position(span).0 })
}

/// A program and its arguments.
fn command(key: &str, item: &Item) -> Result<Vec<String>, String> {
    let form = || {
        format!(
            "`{key}`: a list of texts in quotes is needed, such as [\"relay\", \"--{key}\", \"{{outlet}}\"]"
        )
    };
    let list = item.as_array().ok_or_else(form)?;
    list.iter().map(|value| value.as_str().map(str::to_owned).ok_or_else(form)).collect()
}

fn answer(key: &str, item: &Item) -> Result<String, String> {
    match item.as_str() {
        Some("") => Err(format!("`{key}` is empty; every output contains that")),
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("`{key}`: text in quotes is needed")),
    }
}

fn unknown_key(key: &str, name: &str) -> String {
    if let Some(meant) = nearest(key, KEYS) {
        return format!("unknown key `{key}` of power commands `{name}`; did you mean `{meant}`?");
    }
    let keys = KEYS.join(", ");
    format!(
        "unknown key `{key}` of power commands `{name}`, whose keys are {keys}; options of the server stand above all tables"
    )
}

/// The commands for a server with the file at `path`.
pub(super) fn commands(path: &Path, entries: &[PowerCommandEntry]) -> PowerCommands {
    let by_name = entries.iter().map(|entry| (entry.name.clone(), entry.table.clone()));
    PowerCommands::new(path, by_name.collect())
}

/// The programs that are not there, or that this user may not execute, each with the line of its table.
pub(super) fn list_missing(entries: &[PowerCommandEntry]) -> Vec<(usize, String)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let directories = directories.as_slice();
    let missing = entries.iter().flat_map(|entry| {
        let programs =
            entry.table.programs().filter(move |(_, program)| !is_executable(program, directories));
        programs.map(move |(key, program)| {
            let name = &entry.name;
            let reason =
                format!("power commands `{name}`: `{key}` names `{program}`, which cannot be executed");
            (entry.line, reason)
        })
    });
    missing.collect()
}

/// Whether `program`, an absolute path or a name in one of `directories`, is an executable file.
fn is_executable(program: &str, directories: &[PathBuf]) -> bool {
    let is_program = |metadata: Metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    if program.starts_with('/') {
        return fs_err::metadata(program).is_ok_and(is_program);
    }
    directories.iter().any(|directory| fs_err::metadata(directory.join(program)).is_ok_and(is_program))
}

//! The options of a server with their values, and where each value came from.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};
use serde_json::{Value, json};

use super::super::variables::{is_variable_set, variable_name};
use super::credentials::{self, CredentialEntry};
use super::file::{ConfigFile, ValueForm};
use super::power_commands::{self, PowerCommandEntry};
use crate::actions::PowerSettings;

/// The options of a server, as they are after flags, variables and the configuration file.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct ServerSettings {
    /// The configuration file that was read.
    pub(in crate::cli) file: Option<PathBuf>,
    pub(super) settings: Vec<Setting>,
    pub(super) credentials: Vec<CredentialEntry>,
    pub(super) power_commands: Vec<PowerCommandEntry>,
}

/// An option, its value, and where that came from.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// Its name, without dashes.
    pub(super) option: String,
    /// Its values; several only where it takes a list.
    pub(super) values: Vec<String>,
    /// What applies where there is no value.
    pub(super) default_note: Option<String>,
    pub(super) is_secret: bool,
    pub(super) form: ValueForm,
    pub(super) source: SettingSource,
    /// The option given by flag or variable that excludes this one; then the value is not used.
    pub(super) excluded_by: Option<String>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SettingSource {
    Flag,
    /// A variable, by its name.
    Variable(String),
    /// The configuration file.
    File {
        path: PathBuf,
        line: usize,
    },
    Default,
}

impl ServerSettings {
    /// Reads the values of `options` from `matches`. `excluded` are unused options of variables and the file, each with the
    /// option that excludes it.
    pub(super) fn new(
        options: &[Arg],
        matches: &ArgMatches,
        file: Option<&ConfigFile>,
        excluded: &[(String, String)],
    ) -> Self {
        let setting = |option: &Arg| {
            let id = option.get_id().as_str();
            let name = option.get_long().unwrap_or_default();
            let in_file = file.and_then(|file| {
                let entry = file.entries.iter().find(|entry| entry.key == name)?;
                Some(SettingSource::File { path: file.path.clone(), line: entry.line })
            });
            let variable =
                variable_name(option).filter(|_| is_variable_set(option)).map(SettingSource::Variable);
            let source = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => Some(SettingSource::Flag),
                _ => variable.or(in_file),
            };
            let values = matches.get_raw(id).into_iter().flatten();
            Setting {
                option: name.to_owned(),
                values: values.map(|value| value.to_string_lossy().into_owned()).collect(),
                default_note: default_note(option),
                is_secret: option.is_hide_env_values_set(),
                form: ValueForm::of(option),
                source: source.unwrap_or(SettingSource::Default),
                excluded_by: excluded.iter().find(|(key, _)| key == name).map(|(_, by)| by.clone()),
            }
        };
        Self {
            file: file.map(|file| file.path.clone()),
            settings: options.iter().map(setting).collect(),
            credentials: file.map(|file| file.credentials.clone()).unwrap_or_default(),
            power_commands: file.map(|file| file.power_commands.clone()).unwrap_or_default(),
        }
    }

    /// The credentials and the power commands of the configuration file.
    pub(in crate::cli) fn power(&self) -> PowerSettings {
        let Some(file) = self.file.as_deref() else { return PowerSettings::default() };
        PowerSettings {
            credentials: credentials::credentials(file, &self.credentials),
            commands: power_commands::commands(file, &self.power_commands),
        }
    }
}

/// The default in the help of an option, if it is described in words: `[default: half of all]`.
pub(super) fn default_note(option: &Arg) -> Option<String> {
    let help = option.get_help()?.to_string();
    let (_, rest) = help.rsplit_once("[default: ")?;
    Some(rest.trim_end().trim_end_matches(']').to_owned())
}

impl Setting {
    /// The value as text; a secret is not shown.
    pub(super) fn value_text(&self) -> String {
        match (&self.excluded_by, &self.default_note) {
            (Some(by), _) => format!("(not used: --{by} is given)"),
            _ if !self.values.is_empty() && self.is_secret => "(hidden)".to_owned(),
            _ if !self.values.is_empty() => self.values.join(", "),
            (_, Some(note)) => format!("({note})"),
            (_, None) => "(not set)".to_owned(),
        }
    }

    /// Where the value came from, as text.
    pub(super) fn source_text(&self) -> String {
        match &self.source {
            SettingSource::Flag => "flag".to_owned(),
            SettingSource::Variable(name) => format!("variable {name}"),
            SettingSource::File { path, line } => format!("file {}:{line}", path.display()),
            SettingSource::Default => "default".to_owned(),
        }
    }

    /// The setting as JSON; the value of a secret is left out.
    pub(super) fn to_json(&self) -> Value {
        let mut json = json!({ "option": self.option, "value": self.value_json() });
        let source = match &self.source {
            SettingSource::Flag => "flag",
            SettingSource::Variable(name) => {
                json["variable"] = name.as_str().into();
                "variable"
            }
            SettingSource::File { path, line } => {
                json["file"] = path.display().to_string().into();
                json["line"] = (*line).into();
                "file"
            }
            SettingSource::Default => "default",
        };
        json["source"] = source.into();
        if let Some(by) = &self.excluded_by {
            json["excluded_by"] = by.as_str().into();
        }
        if self.is_secret && !self.values.is_empty() {
            json["is_hidden"] = true.into();
        }
        json
    }

    fn value_json(&self) -> Value {
        match (&*self.values, self.form) {
            _ if self.is_secret => Value::Null,
            ([], _) => Value::Null,
            (values, ValueForm::TextList) => values.into(),
            ([value, ..], ValueForm::Boolean) => value.parse::<bool>().map_or(Value::Null, Value::from),
            ([value, ..], ValueForm::Number) => value.parse::<u64>().map_or(Value::Null, Value::from),
            ([value, ..], ValueForm::Text) => value.as_str().into(),
        }
    }
}

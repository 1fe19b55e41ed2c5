//! The options of a server as one table, and the configuration file as their defaults.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};

use super::super::serve::ServeOptions;
use super::file::{self, ConfigFile, ConfigFileError};
use super::server_options::{FILE_OPTION, conflicts, server_options};
use super::settings::ServerSettings;

/// The configuration file that is read where none is named.
pub(super) const DEFAULT_FILE: &str = "/etc/lifeguard/lifeguard.toml";

/// The options of `serve`, and the file that they may come from.
#[derive(Debug, Args)]
pub(in crate::cli) struct ServerConfigArgs {
    /// The configuration file, whose keys are the options of `serve` without dashes [default:
    /// /etc/lifeguard/lifeguard.toml, if it exists]
    #[arg(long, env = "LIFEGUARD_CONFIG_FILE", value_name = "FILE")]
    config_file: Option<PathBuf>,

    #[command(flatten)]
    pub(in crate::cli) options: ServeOptions,
}

/// Parses the command line; a command of a server gets defaults from the configuration file.
///
/// # Errors
///
/// [`ParseError`].
pub(in crate::cli) fn with_configuration(
    root: &mut Command,
    words: &[OsString],
) -> Result<(ArgMatches, Option<ServerSettings>), ParseError> {
    // Arguments of a command that has parsed once can no longer be changed.
    let fresh = root.clone();
    let matches = root.try_get_matches_from_mut(words)?;
    let path = server_command(&matches).map(|(path, _)| path);
    let Some(path) = path else { return Ok((matches, None)) };
    let file = read_file(&matches, &fresh)?;
    let given = server_command(&matches).map(|(_, matches)| matches);
    let is_excluded = |key: &str| {
        let explicit = server_options(root).into_iter().find(|option| {
            let source = given.and_then(|given| given.value_source(option.get_id().as_str()));
            let is_given = matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable));
            is_given && option.get_long().is_some_and(|option| conflicts(root, option, key))
        });
        explicit.and_then(|option| option.get_long().map(str::to_owned))
    };
    let excluded: Vec<(String, String)> = file
        .iter()
        .flat_map(|file| &file.entries)
        .filter_map(|entry| Some((entry.key.clone(), is_excluded(&entry.key)?)))
        .collect();
    let mut configured = fresh;
    for entry in file.iter().flat_map(|file| &file.entries) {
        if !excluded.iter().any(|(key, _)| *key == entry.key) {
            configured = with_default(configured, &path, &entry.key, &entry.values);
        }
    }
    let matches = configured.try_get_matches_from_mut(words)?;
    let settings = server_command(&matches)
        .map(|(_, matches)| ServerSettings::new(&server_options(root), matches, file.as_ref(), &excluded));
    Ok((matches, settings))
}

/// Why a command line cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ParseError {
    /// The command line is wrong, or asks for help.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The configuration file is wrong.
    #[error("{0}")]
    ConfigFile(String),
}

/// The names of the command that configures a server, and its arguments.
fn server_command(matches: &ArgMatches) -> Option<(Vec<&'static str>, &ArgMatches)> {
    match matches.subcommand()? {
        ("serve", serve) => Some((vec!["serve"], serve)),
        ("config", config) => match config.subcommand()? {
            ("show", show) => Some((vec!["config", "show"], show)),
            _ => None,
        },
        _ => None,
    }
}

fn read_file(matches: &ArgMatches, root: &Command) -> Result<Option<ConfigFile>, ParseError> {
    let given = server_command(matches).map(|(_, matches)| matches);
    let named = given.and_then(|given| {
        let is_variable = given.value_source(FILE_OPTION)? == ValueSource::EnvVariable;
        let origin = if is_variable { "LIFEGUARD_CONFIG_FILE" } else { "--config-file" };
        Some((origin, given.get_one::<PathBuf>(FILE_OPTION)?))
    });
    let Some((origin, path)) = named else { return read_default(Path::new(DEFAULT_FILE), root) };
    file::read(path, root).map(Some).map_err(|error| {
        ParseError::ConfigFile(match error {
            ConfigFileError::Read(error) => format!("{origin}: {error}"),
            faults @ ConfigFileError::Faults { .. } => faults.to_string(),
        })
    })
}

/// Reads the default configuration file, if there is one.
fn read_default(path: &Path, root: &Command) -> Result<Option<ConfigFile>, ParseError> {
    match file::read(path, root) {
        Ok(file) => Ok(Some(file)),
        Err(ConfigFileError::Read(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ParseError::ConfigFile(error.to_string())),
    }
}

/// Sets the default of an option: of the whole program for the log, otherwise of the command at `path`.
fn with_default(command: Command, path: &[&str], key: &str, values: &[String]) -> Command {
    let owner = |command: &Command| {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(key));
        arg.map(|arg| arg.get_id().clone())
    };
    let set = |command: Command| match owner(&command) {
        Some(id) => command.mut_arg(id, |arg| arg.default_values(values.to_vec())),
        None => command,
    };
    match path {
        [] => set(command),
        [first, rest @ ..] => {
            let command = set(command);
            command.mut_subcommand(*first, |inner| with_default(inner, rest, key, values))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::command_line::command;
    use super::*;

    #[test]
    fn a_default_file_that_does_not_exist_is_no_fault_and_a_wrong_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lifeguard.toml");
        assert_eq!(read_default(&path, &command()).unwrap(), None);
        fs_err::write(&path, "listen = 1").unwrap();
        assert!(read_default(&path, &command()).is_err());
        fs_err::write(&path, "listen = \"127.0.0.1:1\"").unwrap();
        assert_eq!(read_default(&path, &command()).unwrap().unwrap().entries.len(), 1);
    }
}

//! The options of a server as one table, and the configuration file as their defaults.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};

use super::super::serve::ServeOptions;
use super::super::variables::{is_variable_set, without_variables, without_variables_of_typed};
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

/// Parses the command line; a command of a server gets defaults from the configuration file. What is typed is parsed first,
/// without variables, so that an error is about the flags or about the variables.
///
/// # Errors
///
/// [`ParseError`].
pub(in crate::cli) fn with_configuration(
    root: &Command,
    words: &[OsString],
) -> Result<(ArgMatches, Option<ServerSettings>), ParseError> {
    let parse = |command: &Command| command.clone().try_get_matches_from(words).map_err(ParseError::Variable);
    let typed = match without_variables(root).try_get_matches_from(words) {
        Ok(typed) => typed,
        // Help names the variables.
        Err(error) if is_help(error.kind()) => return Err(parse(root).err().unwrap_or(error.into())),
        Err(error) => return Err(error.into()),
    };
    let untyped = without_variables_of_typed(root, &typed);
    let Some((path, flags)) = server_command(&typed) else { return Ok((parse(&untyped)?, None)) };
    let options = server_options(root);
    let excluded_by = |matches: &ArgMatches, key: &str| {
        let is_excluding = |option: &&Arg| {
            let source = matches.value_source(option.get_id().as_str());
            let is_given = matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable));
            is_given && option.get_long().is_some_and(|option| conflicts(root, option, key))
        };
        let by = options.iter().find(is_excluding).and_then(Arg::get_long);
        by.map(|by| (key.to_owned(), by.to_owned()))
    };
    let set = options.iter().filter(|option| is_variable_set(option)).filter_map(Arg::get_long);
    let mut excluded: Vec<(String, String)> = set.filter_map(|key| excluded_by(flags, key)).collect();
    let mut configured = untyped;
    for (key, _) in &excluded {
        configured = with_option(configured, &path, key, &|option| option.env(Resettable::Reset));
    }
    let matches = parse(&configured)?;
    let file = read_file(&matches, root)?;
    let Some((_, given)) = server_command(&matches) else { return Ok((matches, None)) };
    for entry in file.iter().flat_map(|file| &file.entries) {
        if let Some(exclusion) = excluded_by(given, &entry.key) {
            excluded.push(exclusion);
        } else {
            let default = |option: Arg| option.default_values(entry.values.clone());
            configured = with_option(configured, &path, &entry.key, &default);
        }
    }
    let matches = parse(&configured)?;
    let settings = server_command(&matches)
        .map(|(_, matches)| ServerSettings::new(&options, matches, file.as_ref(), &excluded));
    Ok((matches, settings))
}

fn is_help(kind: ErrorKind) -> bool {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    matches!(kind, DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion)
}

/// Why a command line cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ParseError {
    /// The command line is wrong, or asks for help.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// Variables are wrong; the error names the flags of their options.
    #[error(transparent)]
    Variable(clap::Error),
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

/// Changes an option: of the whole program for the log, otherwise of the command at `path`.
fn with_option(command: Command, path: &[&str], key: &str, change: &dyn Fn(Arg) -> Arg) -> Command {
    let option = command.get_arguments().find(|option| option.get_long() == Some(key));
    let command = match option.map(|option| option.get_id().clone()) {
        Some(id) => command.mut_arg(id, change),
        None => command,
    };
    match path {
        [] => command,
        [first, rest @ ..] => command.mut_subcommand(*first, |inner| with_option(inner, rest, key, change)),
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

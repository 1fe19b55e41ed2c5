//! `lifeguard config check`: what is wrong with a configuration file, and where.

use std::error::Error;
use std::iter;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, FromArgMatches};

use super::super::output::{self, complain_in_lines};
use super::super::serve::ServeOptions;
use super::super::variables::without_variables;
use super::credentials;
use super::file::{self, ConfigFile, ConfigFileError};
use super::power_commands;
use crate::formatting::count;

/// Checks a file: exit code 0 where nothing is wrong, 1 where something is, 2 where it cannot be read.
pub(super) async fn run(path: &Path, root: &Command) -> Result<ExitCode, Box<dyn Error>> {
    let refusals = match file::read(path, root) {
        Ok(file) => {
            let mut refusals = refusals(&file, root)?;
            refusals.extend(unreadable_credentials(&file).await);
            let missing = power_commands::list_missing(&file.power_commands);
            refusals.extend(
                missing.into_iter().map(|(line, reason)| format!("{}:{line}: {reason}", path.display())),
            );
            if refusals.is_empty() {
                let options = count(file.entries.len(), "option");
                let credentials = match file.credentials.len() {
                    0 => String::new(),
                    number => format!(", {}", count(number, "credential")),
                };
                let commands = match file.power_commands.len() {
                    0 => String::new(),
                    number => format!(", {}", count(number, "power command table")),
                };
                output::print(&format!("{}: {options}{credentials}{commands}, no errors", path.display()))?;
                return Ok(ExitCode::SUCCESS);
            }
            refusals.join("\n")
        }
        Err(error @ ConfigFileError::Faults { .. }) => error.to_string(),
        Err(error @ ConfigFileError::Read(_)) => {
            output::complain(&error.to_string());
            return Ok(ExitCode::from(2));
        }
    };
    complain_in_lines(&refusals);
    Ok(ExitCode::FAILURE)
}

/// What keeps a server with this file from starting, although each value is accepted.
fn refusals(file: &ConfigFile, root: &Command) -> Result<Vec<String>, clap::Error> {
    let values = file.entries.iter().flat_map(|entry| entry.values.iter().map(|value| (&entry.key, value)));
    let words = values.map(|(key, value)| format!("--{key}={value}"));
    let command = without_variables(root).no_binary_name(true);
    let matches = command.try_get_matches_from(iter::once("serve".to_owned()).chain(words))?;
    let Some(serve) = matches.subcommand_matches("serve") else { return Ok(Vec::new()) };
    let refusals = ServeOptions::from_arg_matches(serve)?.refusals();
    let described = refusals.into_iter().map(|(key, reason)| {
        let path = file.path.display();
        match file.entries.iter().find(|entry| entry.key == key) {
            Some(entry) => format!("{path}:{}: {reason}", entry.line),
            None => format!("{path}: {reason}"),
        }
    });
    Ok(described.collect())
}

/// The credentials whose password files cannot be used.
async fn unreadable_credentials(file: &ConfigFile) -> Vec<String> {
    let unreadable = credentials::credentials(&file.path, &file.credentials).list_unreadable().await;
    let described = unreadable.into_iter().map(|(name, error)| {
        let line = file.credentials.iter().find(|entry| entry.name == name).map_or(0, |entry| entry.line);
        format!("{}:{line}: {error}", file.path.display())
    });
    described.collect()
}

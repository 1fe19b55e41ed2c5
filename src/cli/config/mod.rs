//! `lifeguard config`: the configuration file of a server, and where each of its options comes from.
//!
//! The options of `serve` form one table: each is a flag, a variable and a key of the file. Values in the
//! file become defaults of the arguments before parsing, so flags and variables take precedence. Credentials are in the
//! file only: arguments can be read by every user of the machine, and variables are inherited.

mod check;
mod credentials;
mod fault;
mod file;
mod named_tables;
mod options;
mod power_commands;
#[cfg(test)]
mod reference;
mod server_options;
mod settings;
mod show;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command, Subcommand};

use super::output::complain;
use super::variables::list_unknown;

pub(super) use self::options::{ParseError, ServerConfigArgs, with_configuration};
pub(super) use self::settings::ServerSettings;

/// Options of `lifeguard config`.
#[derive(Debug, Args)]
pub(super) struct ConfigOptions {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show every option of a server: its value, and whether a flag, a variable, the configuration file or its default set it
    Show(Box<show::ShowOptions>),
    /// Check a configuration file, without flags and variables, as the current user and from the current directory
    Check {
        /// The configuration file
        file: PathBuf,
    },
}

/// Runs the command; `root` is the whole command line.
///
/// # Errors
///
/// When its output cannot be written.
pub(super) async fn run(
    options: &ConfigOptions,
    settings: &ServerSettings,
    root: &Command,
) -> Result<ExitCode, Box<dyn Error>> {
    match &options.command {
        ConfigCommand::Show(options) => {
            for (variable, meant) in list_unknown(root) {
                let meant = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
                complain(&format!("warning: {variable} is not a variable of lifeguard, ignored{meant}"));
            }
            show::run(options, settings)
        }
        ConfigCommand::Check { file } => check::run(file, root).await,
    }
}

//! `lifeguard machine`: check, draw and try machine definitions.

mod check;
pub(super) mod file;
mod simulate;

use std::error::Error;
use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Options of `lifeguard machine`.
#[derive(Debug, Args)]
pub(super) struct MachineOptions {
    #[command(subcommand)]
    command: MachineCommand,
}

#[derive(Debug, Subcommand)]
enum MachineCommand {
    /// Prove what can be proved of machine definitions without running them
    Check(check::CheckOptions),
    /// Run a farm of instances under virtual time, and say what comes of it
    Simulate(simulate::SimulateOptions),
}

/// Runs one of them.
///
/// # Errors
///
/// What kept it from being done, for people.
pub(super) fn run(options: &MachineOptions) -> Result<ExitCode, Box<dyn Error>> {
    match &options.command {
        MachineCommand::Check(options) => check::run(options),
        MachineCommand::Simulate(options) => simulate::run(options),
    }
}

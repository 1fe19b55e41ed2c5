//! `lifeguard machine`: check, draw, simulate, load and replay machine definitions.

mod check;
mod diagram;
pub(super) mod file;
pub(super) mod import;
mod load;
mod replay;
mod rules;
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
    /// Check machine definitions: find faults that can be proved without running them
    Check(check::CheckOptions),
    /// Draw a definition: states, transitions and deadlines
    Diagram(diagram::DiagramOptions),
    /// Translate a StateService file into a machine definition, and print it
    Import(import::ImportOptions),
    /// Activate a definition for all servers at once; instances keep their states
    Load(load::MachineLoadOptions),
    /// List the active definitions
    List(load::MachineListOptions),
    /// Replay history and compare the result with what is stored, or with the result of another definition
    Replay(replay::ReplayOptions),
    /// Show the definitions of a machine, the newest first, or the text of one
    Show(load::MachineShowOptions),
    /// Simulate a farm of instances in virtual time
    Simulate(simulate::SimulateOptions),
}

/// Runs one of them.
///
/// # Errors
///
/// Why the command failed, for people.
pub(super) async fn run(options: MachineOptions) -> Result<ExitCode, Box<dyn Error>> {
    match options.command {
        MachineCommand::Check(options) => return check::run(&options),
        MachineCommand::Diagram(options) => diagram::run(&options)?,
        MachineCommand::Import(options) => import::run(&options)?,
        MachineCommand::Load(options) => load::load(options).await?,
        MachineCommand::List(options) => load::list(options).await?,
        MachineCommand::Replay(options) => return replay::run(options).await,
        MachineCommand::Show(options) => load::show(options).await?,
        MachineCommand::Simulate(options) => return simulate::run(&options),
    }
    Ok(ExitCode::SUCCESS)
}

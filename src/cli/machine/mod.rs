//! `lifeguard machine`: check, draw and try machine definitions.

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
    /// Prove what can be proved of machine definitions without running them
    Check(check::CheckOptions),
    /// Draw a definition: its states, what leads from one to another, and how long each may last
    Diagram(diagram::DiagramOptions),
    /// Translate a StateService file into a definition, and print that
    Import(import::ImportOptions),
    /// Put a definition in force, for all servers at one moment; boards that are half-way through go on under it
    Load(load::MachineLoadOptions),
    /// List the definitions that are in force
    List(load::MachineListOptions),
    /// Put history through the kernel again: it must give what is stored; or say what another definition would have made
    /// of it
    Replay(replay::ReplayOptions),
    /// Show which definitions of a machine were in force, or the text of one
    Show(load::MachineShowOptions),
    /// Run a farm of instances under virtual time, and say what comes of it
    Simulate(simulate::SimulateOptions),
}

/// Runs one of them.
///
/// # Errors
///
/// What kept it from being done, for people.
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

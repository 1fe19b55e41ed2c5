//! The command line: its options and commands, and what is wrong with it.

use std::ffi::OsString;
use std::iter;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::log::LogArgs;
use super::{demo, device, image, instance, machine, model, output, resource, serve};
use crate::machine::reword_library_error;

/// Keeps the boards of a bare-metal farm moving through their lifecycles.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub(super) log: LogArgs,

    #[command(subcommand)]
    pub(super) command: CliCommand,
}

/// Takes the value out of an error that is about the database's URL: it may hold a password.
fn hide_secret(error: &mut clap::Error) {
    let argument = error.get(ContextKind::InvalidArg);
    if matches!(argument, Some(ContextValue::String(argument)) if argument.starts_with("--database-url ")) {
        error.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
    }
}

/// Lets no option be read from a variable that is empty: that is as if it were not set.
#[must_use]
pub fn without_empty_variables(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) { arg.env(Resettable::Reset) } else { arg }
    });
    command.mut_subcommands(without_empty_variables)
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum CliCommand {
    /// Run the server: engine, HTTP, TFTP, and a private PostgreSQL where no database is named
    Serve(serve::ServeOptions),
    /// Show it all with simulated boards and relay boards on loopback
    Demo(demo::DemoOptions),
    /// Register, list, show, reboot and reimage boards, by a server's HTTP interface
    Device(device::DeviceOptions),
    /// Say which boot config boots which image on which hardware
    Image(image::ImageOptions),
    /// Show what is limited, who holds it and who waits for it, and set limits
    Resource(resource::ResourceOptions),
    /// Create, show and move instances of any machine, by a server's HTTP interface
    Instance(instance::InstanceOptions),
    /// Check, draw and try machine definitions
    Machine(machine::MachineOptions),
    /// Make hosted models of scikit-learn's, and ask a server's
    Model(model::ModelCommandOptions),
}

/// Reads the command line. What is wrong with it is on standard error, and help on standard output: then there is nothing
/// to run but the exit code.
///
/// # Errors
///
/// The exit code.
pub fn parse() -> Result<Cli, ExitCode> {
    parse_from(std::env::args_os().skip(1))
}

/// Reads a command line from the words after the program's name, as [`parse`] does.
///
/// # Errors
///
/// The exit code.
pub fn parse_from(words: impl Iterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let mut command = without_empty_variables(Cli::command());
    let matches = command.try_get_matches_from_mut(iter::once(OsString::from("lifeguard")).chain(words));
    let cli = matches.and_then(|mut matches| {
        Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    });
    cli.map_err(|mut error| {
        hide_secret(&mut error);
        let text = reword_library_error(&error.render().to_string());
        if error.use_stderr() {
            output::complain_as_it_is(&text);
            return ExitCode::from(2);
        }
        match output::print(text.trim_end_matches('\n')) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    })
}

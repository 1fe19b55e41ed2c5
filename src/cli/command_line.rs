//! The command line: its options and commands, and errors in what users type.

use std::ffi::OsString;
use std::iter;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::config::{ParseError, ServerSettings, with_configuration};
use super::help::{SERVER_OPTION, with_examples, with_own_options_only};
use super::log::LogArgs;
use super::variables::{name_variables, without_empty_variables};
use super::{config, demo, device, image, incident, instance, machine, model, output, power, resource};
use crate::machine::reword_library_error;

/// Keeps the boards of a bare-metal farm moving through their lifecycles.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub(super) log: LogArgs,

    #[command(subcommand)]
    pub(super) command: CliCommand,

    /// The options of a server, if the command takes them.
    #[arg(skip)]
    pub(super) settings: ServerSettings,
}

/// The options whose values may hold a secret.
const SECRET_OPTIONS: [&str; 2] = ["--database-url ", "--operators-url "];

/// Hides the value in an error about an option whose value may hold a secret.
fn hide_secret(error: &mut clap::Error) {
    let argument = error.get(ContextKind::InvalidArg);
    let is_secret = |argument: &String| SECRET_OPTIONS.iter().any(|option| argument.starts_with(option));
    if matches!(argument, Some(ContextValue::String(argument)) if is_secret(argument)) {
        error.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
    }
}

/// Accepts `-1` as the value of every option: whether it fits is for the option to say.
fn with_negative_numbers(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let is_option = !arg.is_positional() && arg.get_action().takes_values();
        if is_option { arg.allow_negative_numbers(true) } else { arg }
    });
    command.mut_subcommands(with_negative_numbers)
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum CliCommand {
    /// Run the server: engine, HTTP, TFTP, and a private PostgreSQL if no database is given
    Serve(config::ServerConfigArgs),
    /// Show the configuration of a server and where each option comes from, or check a configuration file
    Config(config::ConfigOptions),
    /// Run a server with simulated boards and relay boards on loopback
    Demo(demo::DemoOptions),
    /// Register, list, show, reboot and reimage boards of a server
    Device(device::DeviceOptions),
    /// Register images: which boot config boots an image on which hardware
    Image(image::ImageOptions),
    /// Read and switch power outlets by hand, list the power drivers, and find the outlets of a device
    Power(power::PowerOptions),
    /// Show resources, who holds them and who waits for them, and set their limits
    Resource(resource::ResourceOptions),
    /// Show resources that do not answer and who waits for them, and close such incidents
    Incident(incident::IncidentOptions),
    /// Create, show and move instances of any machine
    Instance(instance::InstanceOptions),
    /// Check, draw, simulate and load machine definitions
    Machine(machine::MachineOptions),
    /// Convert scikit-learn models, and use the models that a server hosts
    Model(model::ModelCommandOptions),
}

/// The whole command line, with examples and without variables that are empty.
pub(super) fn command() -> Command {
    // A variable of a production server would have the demo use its database, and reboot its boards.
    let root = Cli::command().mut_subcommand("demo", |demo| demo.mut_args(|arg| arg.env(Resettable::Reset)));
    without_empty_variables(with_negative_numbers(with_own_options_only(with_examples(root))))
}

/// Parses the command line of this process. Errors are printed on standard error, help on standard output.
///
/// # Errors
///
/// The exit code, where there is no command to run.
pub fn parse() -> Result<Cli, ExitCode> {
    parse_from(std::env::args_os().skip(1))
}

/// Parses a command line from the words after the program's name, as [`parse`] does.
///
/// # Errors
///
/// The exit code, where there is no command to run.
pub fn parse_from(words: impl Iterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let mut command = command();
    let words: Vec<OsString> = iter::once(OsString::from("lifeguard")).chain(words).collect();
    let mut error = match read(&mut command, &words) {
        Ok(cli) => return Ok(cli),
        Err(ParseError::ConfigFile(text)) => {
            output::complain_in_lines(&text);
            return Err(ExitCode::from(2));
        }
        Err(ParseError::CommandLine(mut error)) => {
            hide_secret(&mut error);
            error
        }
        Err(ParseError::Variable(mut error)) => {
            hide_secret(&mut error);
            name_variables(error, used_command(&mut command, &words))
        }
    };
    // The parser's own usage lists options that came from variables.
    if error.get(ContextKind::Usage).is_some() {
        let usage = used_command(&mut command, &words).render_usage();
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    let text = reword_library_error(&error.render().to_string());
    if error.use_stderr() {
        output::complain_verbatim(&text);
        return Err(ExitCode::from(2));
    }
    Err(match output::print(text.trim_end_matches('\n')) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn read(command: &mut Command, words: &[OsString]) -> Result<Cli, ParseError> {
    let (mut matches, settings) = with_configuration(command, words)?;
    if is_server_named_in_vain(command, &matches) {
        let used = used_command(command, words);
        let text = format!(
            "unexpected argument '--server': `{}` asks no server",
            used.get_bin_name().unwrap_or_default()
        );
        return Err(used.error(ErrorKind::UnknownArgument, text).into());
    }
    let cli = Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(command))?;
    Ok(Cli { settings: settings.unwrap_or_default(), ..cli })
}

/// Whether `--server` was given for a command that uses no server.
fn is_server_named_in_vain(command: &Command, matches: &ArgMatches) -> bool {
    if let Some((name, inner)) = matches.subcommand() {
        return command.find_subcommand(name).is_some_and(|command| is_server_named_in_vain(command, inner));
    }
    let option = command.get_arguments().find(|arg| arg.get_id() == SERVER_OPTION);
    option.is_some_and(clap::Arg::is_hide_set)
        && matches.value_source(SERVER_OPTION) == Some(ValueSource::CommandLine)
}

/// The innermost command that `words` name.
fn used_command<'a>(command: &'a mut Command, words: &[OsString]) -> &'a mut Command {
    command.build();
    let mut used = command;
    for word in words {
        let name = used.find_subcommand(word).map(|inner| inner.get_name().to_owned());
        if let Some(name) = name {
            #[expect(clippy::expect_used, reason = "it was just found")]
            let inner = used.find_subcommand_mut(name).expect("a command has its subcommand");
            used = inner;
        }
    }
    used
}

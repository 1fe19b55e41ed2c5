//! The options of `lifeguard device`.

use clap::{Args, Subcommand};

use super::request::RequestCommand;
use crate::actions::power_schemes;
use crate::cli::client::ServerOptions;

/// The command's options.
#[derive(Debug, Args)]
pub(in crate::cli) struct DeviceOptions {
    #[command(flatten)]
    pub(super) server: ServerOptions,
    #[command(subcommand)]
    pub(super) command: DeviceCommand,
}

/// What is done.
#[derive(Debug, Subcommand)]
pub(super) enum DeviceCommand {
    /// Register a board
    Add(AddOptions),
    /// List boards
    List {
        /// Only these states, separated by commas; `Failed*` stands for all that begin so
        #[arg(long)]
        state: Option<String>,
        /// Only this type of hardware
        #[arg(long)]
        hardware: Option<String>,
        /// Only this environment
        #[arg(long)]
        environment: Option<String>,
        /// Only boards that have this image on their cards
        #[arg(long)]
        image: Option<String>,
    },
    /// Show a board: where it is, why, until when, and what may happen next
    Show {
        /// The board
        name: String,
    },
    /// Say why boards stand where they stand: what they wait for, until when, what then, and what may be done
    Why {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Ask boards for something
    #[command(flatten)]
    Request(RequestCommand),
    /// Move a board by force, if it is where you believe it to be
    Force {
        /// The board
        name: String,
        /// The state that it is in
        #[arg(long)]
        from: String,
        /// The state to enter
        #[arg(long)]
        to: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Show what happened to a board, the newest last
    History {
        /// The board
        name: String,
        /// At most so many entries
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Forget boards; what they still had to do is cancelled
    Remove {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// A board that is to be registered.
#[derive(Debug, Args)]
pub(super) struct AddOptions {
    /// Its name
    pub(super) name: String,
    /// Its MAC address, such as aa:bb:cc:dd:ee:ff
    #[arg(long)]
    pub(super) mac: String,
    /// Its type of hardware
    #[arg(long)]
    pub(super) hardware: String,
    /// The host name or address that it answers on [default: its name]
    #[arg(long)]
    pub(super) fqdn: Option<String>,
    /// Where its power is switched, such as `modbus://relay-3.lab:502/5`; without it a board takes no request that cycles
    /// its power
    #[arg(long, long_help = power_help())]
    pub(super) power_url: Option<String>,
    /// What answers when it is up: `tcp://HOST:PORT` or `http://HOST:PORT/PATH` [default: it is not polled]
    #[arg(long)]
    pub(super) poll_url: Option<String>,
    /// Which part of the farm it belongs to
    #[arg(long)]
    pub(super) environment: Option<String>,
    /// What people should know of it
    #[arg(long)]
    pub(super) comments: Option<String>,
}

/// What a power URL may be, by all schemes that there are.
fn power_help() -> String {
    let schemes = power_schemes().iter().map(|scheme| format!("\n\n{}", scheme.help()));
    format!(
        "Where its power is switched; without it a board takes no request that cycles its power{}",
        schemes.collect::<String>()
    )
}

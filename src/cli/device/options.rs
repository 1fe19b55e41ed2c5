//! The options of `lifeguard device`.

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::actions::power_schemes;
use crate::cli::client::ServerOptions;
use crate::cli::output::json_object;

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
    /// Reboot boards: cycle their power and wait for their images
    Reboot {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Install an image on boards
    Reimage {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
        /// The image
        #[arg(long)]
        image: String,
        /// A JSON object that the board can fetch while it installs
        #[arg(long, value_name = "JSON", value_parser = json_object)]
        boot_config: Option<Value>,
    },
    /// Boot boards into the self-test image and wait for their verdicts
    SelfTest {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Boot boards into the maintenance image, and leave them there
    Maintenance {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Give up what is under way on boards, and remove their boot links
    Cancel {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Keep Lifeguard's hands off boards, whatever they do, until they are unlocked
    LockOut {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
        /// Why, for everybody who finds them locked out
        #[arg(long)]
        reason: String,
        /// Who asks for it
        #[arg(long)]
        by: Option<String>,
    },
    /// End a lock-out
    Unlock {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
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

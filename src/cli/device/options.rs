//! The options of `lifeguard device`.

use clap::{Args, Subcommand};

use super::fields::{FieldChanges, FieldFilters, FieldValues};
use super::request::RequestCommand;
use crate::cli::api_client::ServerOptions;
use crate::cli::serve::number_from;

/// The command's options.
#[derive(Debug, Args)]
pub(in crate::cli) struct DeviceOptions {
    #[command(flatten)]
    pub(super) server: ServerOptions,
    #[command(subcommand)]
    pub(super) command: DeviceCommand,
}

/// The commands of `lifeguard device`.
#[derive(Debug, Subcommand)]
pub(super) enum DeviceCommand {
    /// Register a board
    Add(DeviceAddOptions),
    /// Change what is known of a board; an empty value removes an optional one
    Set {
        /// The board
        name: String,
        #[command(flatten)]
        changes: FieldChanges,
    },
    /// List boards
    List {
        /// Only boards in these states, separated by commas; `Failed*` matches all that begin with Failed
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        fields: FieldFilters,
        /// Only boards with this image on their cards
        #[arg(long)]
        image: Option<String>,
    },
    /// Show a board: its state, its deadline, what it waits for, and which requests it accepts
    Show {
        /// The board
        name: String,
    },
    /// Explain why boards are in their states: what they wait for, the deadline, what happens then, and which requests they accept
    Why {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Send a request to boards
    #[command(flatten)]
    Request(RequestCommand),
    /// Move a board to another state by force, if it is in the state that you expect
    Force {
        /// The board
        name: String,
        /// The state that you expect it to be in
        #[arg(long)]
        from: String,
        /// The state to enter
        #[arg(long)]
        to: String,
        /// The reason, for the history
        #[arg(long)]
        reason: String,
    },
    /// Show the history of a board, the newest entry first
    History {
        /// The board
        name: String,
        /// The maximum number of entries
        #[arg(long, default_value_t = 50, value_parser = |text: &str| number_from(text, 1_u32))]
        limit: u32,
    },
    /// Remove boards; their open actions are cancelled
    Remove {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// A board to register.
#[derive(Debug, Args)]
pub(super) struct DeviceAddOptions {
    /// Its name
    pub(super) name: String,
    #[command(flatten)]
    pub(super) fields: FieldValues,
}

//! The options of `lifeguard device`.

use clap::{Args, Subcommand};

use super::fields::{FieldFilters, FieldValues};
use super::request::RequestCommand;
use crate::cli::api_client::ServerOptions;

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
    Add(DeviceAddOptions),
    /// List boards
    List {
        /// Only these states, separated by commas; `Failed*` stands for all that begin so
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        fields: FieldFilters,
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
pub(super) struct DeviceAddOptions {
    /// Its name
    pub(super) name: String,
    #[command(flatten)]
    pub(super) fields: FieldValues,
}

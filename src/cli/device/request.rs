//! Requests to boards: names and arguments.

use clap::Subcommand;
use serde_json::{Value, json};

use super::selection::BoardSelection;
use crate::cli::output::json_object;

/// A request to boards.
#[derive(Debug, Subcommand)]
pub(super) enum RequestCommand {
    /// Reboot boards: cycle their power and wait for their images
    Reboot {
        #[command(flatten)]
        boards: BoardSelection,
    },
    /// Install an image on boards
    Reimage {
        #[command(flatten)]
        boards: BoardSelection,
        /// The image
        #[arg(long)]
        image: String,
        /// A JSON object that the board can fetch while it installs
        #[arg(long, value_name = "JSON", value_parser = json_object)]
        boot_config: Option<Value>,
    },
    /// Boot boards into the self-test image and wait for the results
    SelfTest {
        #[command(flatten)]
        boards: BoardSelection,
    },
    /// Boot boards into the maintenance image, and leave them to a person
    Maintenance {
        #[command(flatten)]
        boards: BoardSelection,
    },
    /// Cancel what is running on boards, and remove their boot links
    Cancel {
        #[command(flatten)]
        boards: BoardSelection,
    },
    /// Lock boards out: Lifeguard ignores what they report and does not touch them until they are unlocked
    LockOut {
        #[command(flatten)]
        boards: BoardSelection,
        /// The reason, which is shown for as long as they are locked out
        #[arg(long)]
        reason: String,
        /// The name of the person who locks them out
        #[arg(long)]
        by: Option<String>,
    },
    /// End a lock-out
    Unlock {
        #[command(flatten)]
        boards: BoardSelection,
    },
}

impl RequestCommand {
    /// The request's name, the boards, and its arguments.
    pub(super) fn into_parts(self) -> (&'static str, BoardSelection, Value) {
        match self {
            Self::Reboot { boards } => ("rq-reboot", boards, json!({})),
            Self::Reimage { boards, image, boot_config } => {
                ("rq-reimage", boards, json!({ "image": image, "boot_config": boot_config }))
            }
            Self::SelfTest { boards } => ("rq-self-test", boards, json!({})),
            Self::Maintenance { boards } => ("rq-maintenance", boards, json!({})),
            Self::Cancel { boards } => ("rq-cancel", boards, json!({})),
            Self::LockOut { boards, reason, by } => {
                let mut body = json!({ "reason": reason });
                if let Some(by) = by {
                    body["by"] = by.into();
                }
                ("rq-lock-out", boards, body)
            }
            Self::Unlock { boards } => ("rq-unlock", boards, json!({})),
        }
    }
}

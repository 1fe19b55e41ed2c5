//! Requests to boards: names and arguments.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::output::json_object;

/// A request to boards.
#[derive(Debug, Subcommand)]
pub(super) enum RequestCommand {
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
    /// Boot boards into the self-test image and wait for the results
    SelfTest {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Boot boards into the maintenance image, and leave them to a person
    Maintenance {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Cancel what is running on boards, and remove their boot links
    Cancel {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Lock boards out: Lifeguard ignores what they report and does not touch them until they are unlocked
    LockOut {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
        /// The reason, which is shown for as long as they are locked out
        #[arg(long)]
        reason: String,
        /// The name of the person who locks them out
        #[arg(long)]
        by: Option<String>,
    },
    /// End a lock-out
    Unlock {
        /// The boards
        #[arg(required = true)]
        names: Vec<String>,
    },
}

impl RequestCommand {
    /// The request's name, the boards, and its arguments.
    pub(super) fn into_parts(self) -> (&'static str, Vec<String>, Value) {
        match self {
            Self::Reboot { names } => ("rq-reboot", names, json!({})),
            Self::Reimage { names, image, boot_config } => {
                ("rq-reimage", names, json!({ "image": image, "boot_config": boot_config }))
            }
            Self::SelfTest { names } => ("rq-self-test", names, json!({})),
            Self::Maintenance { names } => ("rq-maintenance", names, json!({})),
            Self::Cancel { names } => ("rq-cancel", names, json!({})),
            Self::LockOut { names, reason, by } => {
                let mut body = json!({ "reason": reason });
                if let Some(by) = by {
                    body["by"] = by.into();
                }
                ("rq-lock-out", names, body)
            }
            Self::Unlock { names } => ("rq-unlock", names, json!({})),
        }
    }
}

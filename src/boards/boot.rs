//! The progress of a board's boot, and its description in words.

use chrono::{DateTime, Utc};

use crate::formatting::elapsed;

/// The progress of a board's present boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootProgress {
    /// When its power was last observed to come on.
    pub powered_at: Option<DateTime<Utc>>,
    /// When it first requested its boot config since then.
    pub asked_at: Option<DateTime<Utc>>,
    /// When it last requested a file or sent a report since then.
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// What requests of boards this process may have missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BootCoverage {
    /// Since when it serves the boot tree by TFTP; `None` if it does not.
    pub served_since: Option<DateTime<Utc>>,
    /// When the last request from an unknown sender arrived.
    pub unknown_sender_at: Option<DateTime<Utc>>,
}

/// Describes the progress of the board's present boot; `None` if its power was never observed to come on.
///
/// The text claims no more than is known.
#[must_use]
pub fn describe_boot(boot: &BootProgress, coverage: BootCoverage) -> Option<String> {
    let powered_at = boot.powered_at?;
    let after = |at: DateTime<Utc>| format!("{} after power-on", elapsed(at - powered_at));
    Some(match (boot.asked_at, boot.last_seen_at) {
        (None, None) => {
            format!(
                "no request from it has been seen by this server since its power came on{}",
                coverage_caveat(powered_at, coverage)
            )
        }
        (None, Some(last_seen_at)) => {
            let caveat = coverage_caveat(powered_at, coverage);
            format!(
                "no request for its boot config has been seen by this server{caveat}; last request or report {}",
                after(last_seen_at)
            )
        }
        (Some(asked_at), last_seen_at) => {
            let asked = format!("it asked for its boot config {}", after(asked_at));
            match last_seen_at.filter(|last_seen_at| *last_seen_at > asked_at) {
                Some(last_seen_at) => format!("{asked}; last request or report {}", after(last_seen_at)),
                None => format!("{asked}; no request or report since"),
            }
        }
    })
}

/// Explains why requests since `powered_at` may have been missed.
fn coverage_caveat(powered_at: DateTime<Utc>, coverage: BootCoverage) -> String {
    let after = |at: DateTime<Utc>| format!("{} after power-on", elapsed(at - powered_at));
    match coverage {
        BootCoverage { served_since: None, .. } => " (this server serves no boot tree by TFTP)".to_owned(),
        BootCoverage { unknown_sender_at: Some(at), .. } if at >= powered_at => {
            format!(" (but requests from unknown senders, the last {})", after(at))
        }
        BootCoverage { served_since: Some(at), .. } if at > powered_at => {
            format!(" (this server has served the boot tree only since {})", after(at))
        }
        BootCoverage { .. } => String::new(),
    }
}

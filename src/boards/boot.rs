//! How far a board's boot got, in words.

use chrono::{DateTime, Utc};

use crate::formatting::elapsed;

/// What is known of the board's present boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootProgress {
    /// When its power was last seen to come on.
    pub powered_at: Option<DateTime<Utc>>,
    /// When it first asked for its boot config since then.
    pub asked_at: Option<DateTime<Utc>>,
    /// When it last asked for a file or reported something since then.
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// What this process can have missed of boards' requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BootCoverage {
    /// Since when it has served the boot tree by TFTP; nothing where it does not.
    pub served_since: Option<DateTime<Utc>>,
    /// When there last was a request of which it is not known whose it was.
    pub unknown_sender_at: Option<DateTime<Utc>>,
}

/// Says in words how far the board's present boot got, and no more than is known; nothing where its power was never seen to
/// come on.
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
        (None, Some(heard_at)) => {
            let missed = coverage_caveat(powered_at, coverage);
            format!(
                "no request for its boot config has been seen by this server{missed}; last heard {}",
                after(heard_at)
            )
        }
        (Some(asked_at), heard_at) => {
            let asked = format!("it asked for its boot config {}", after(asked_at));
            match heard_at.filter(|heard_at| *heard_at > asked_at) {
                Some(heard_at) => format!("{asked}; last heard {}", after(heard_at)),
                None => format!("{asked} and has not been heard since"),
            }
        }
    })
}

/// Why requests since `powered_at` could have gone unseen.
fn coverage_caveat(powered_at: DateTime<Utc>, coverage: BootCoverage) -> String {
    let after = |at: DateTime<Utc>| format!("{} after power-on", elapsed(at - powered_at));
    match coverage {
        BootCoverage { served_since: None, .. } => " (this server serves no boot tree by TFTP)".to_owned(),
        BootCoverage { unknown_sender_at: Some(at), .. } if at >= powered_at => {
            format!(" (but requests from unknown senders, the last {})", after(at))
        }
        BootCoverage { served_since: Some(at), .. } if at > powered_at => {
            format!(" (this server serves the boot tree since {})", after(at))
        }
        BootCoverage { .. } => String::new(),
    }
}

//! How long a list may take.

use std::time::Duration;

/// How long a list may take, in real time: there are only so many snapshots, and the database keeps what is replaced
/// meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct ListTimeouts {
    /// Until the database has given what is sent first.
    pub begin: Duration,
    /// Until a client has taken all of it.
    pub whole: Duration,
    /// While a client takes nothing.
    pub pause: Duration,
}

impl Default for ListTimeouts {
    fn default() -> Self {
        Self { begin: Duration::from_secs(20), whole: Duration::from_mins(1), pause: Duration::from_secs(10) }
    }
}

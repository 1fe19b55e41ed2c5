//! How long a list may take.

use std::time::Duration;

/// How long a list may take, in real time: there are only so many snapshots, and the database keeps what is replaced
/// meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct ListTimeouts {
    /// Until the database has given what is sent first.
    pub first_part_timeout: Duration,
    /// Until a client has taken all of it.
    pub whole_timeout: Duration,
    /// While a client takes nothing.
    pub stall_timeout: Duration,
}

impl Default for ListTimeouts {
    fn default() -> Self {
        Self {
            first_part_timeout: Duration::from_secs(20),
            whole_timeout: Duration::from_mins(1),
            stall_timeout: Duration::from_secs(10),
        }
    }
}

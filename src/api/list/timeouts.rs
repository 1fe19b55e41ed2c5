//! The timeouts of lists.

use std::time::Duration;

/// The timeouts of a list, in real time: a list holds one of the few snapshots, and the database keeps replaced rows while it
/// does.
#[derive(Debug, Clone, Copy)]
pub struct ListTimeouts {
    /// Until the first part has been read from the database.
    pub first_part_timeout: Duration,
    /// Until the client has read all of it.
    pub whole_timeout: Duration,
    /// While the client reads nothing.
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

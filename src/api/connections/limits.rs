//! The limits of HTTP connections.

use std::time::Duration;

/// What a client takes or sends at least, in bytes a second, averaged over a body: what is slower uses up its time.
///
/// A boot loader over a serial line or a phone at the edge of a cell is faster.
pub(in crate::api) const MIN_RATE: u32 = 4096;

/// How many connections there may be, and how long each may keep the server waiting, in real time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one client: of one IPv4 address, or of one IPv6 network (/64).
    pub per_client: usize,
    /// Until the header of a request has come, from its first byte; of the first request, from the connection's beginning.
    pub header: Duration,
    /// Until the body of a request has come: so long, and a second more for each 4096 bytes of it.
    pub body: Duration,
    /// Until the next request begins.
    pub idle: Duration,
    /// While an answer waits for the client to take it: so long in all, and a second more for each 4096 bytes that it
    /// took.
    pub unread: Duration,
    /// The memory of answers that wait for their clients, in bytes in all; a client has a quarter of it, or one answer.
    pub answer_bytes: u64,
    /// Requests that wait for something to become so; half of them may be one client's.
    pub waits: usize,
}

impl Limits {
    /// The most connections where nothing else is said.
    pub const CONNECTIONS: usize = 4096;

    /// The limits of a server of `connections`: one client may have half of them.
    #[must_use]
    pub fn of(connections: usize) -> Self {
        Self { connections, per_client: connections.div_ceil(2), ..Self::default() }
    }

    /// Connections that are kept for clients which have none: boards that report, operators who look.
    pub(super) fn reserved(&self) -> usize {
        self.connections / 8
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: Self::CONNECTIONS,
            per_client: Self::CONNECTIONS / 2,
            header: Duration::from_secs(10),
            body: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            unread: Duration::from_secs(30),
            answer_bytes: 64 * 1024 * 1024,
            waits: 1024,
        }
    }
}

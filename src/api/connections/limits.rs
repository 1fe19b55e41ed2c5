//! The limits of HTTP connections.

use std::time::Duration;

/// What a client takes or sends at least, in bytes a second, averaged over a body: what is slower uses up its time.
///
/// A boot loader over a serial line or a phone at the edge of a cell is faster.
pub(in crate::api) const MIN_BYTES_PER_SECOND: u32 = 4096;

/// How many connections there may be, and how long each may keep the server waiting, in real time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of one client: of one IPv4 address, or of one IPv6 network (/64).
    pub max_connections_per_client: usize,
    /// Until the header of a request has come, from its first byte; of the first request, from the connection's beginning.
    pub header_timeout: Duration,
    /// Until the body of a request has come: so long, and a second more for each 4096 bytes of it.
    pub body_timeout: Duration,
    /// Until the next request begins.
    pub idle_timeout: Duration,
    /// While an answer waits for the client to take it: so long in all, and a second more for each 4096 bytes that it
    /// took.
    pub unread_timeout: Duration,
    /// The memory of answers that wait for their clients, in bytes in all; a client has a quarter of it, or one answer.
    pub max_answer_bytes: u64,
    /// Requests that wait for something to become so; half of them may be one client's.
    pub max_long_polls: usize,
}

impl HttpLimits {
    /// The most connections where nothing else is said.
    pub const DEFAULT_MAX_CONNECTIONS: usize = 4096;

    /// The limits of a server of `connections`: one client may have half of them.
    #[must_use]
    pub fn with_max_connections(connections: usize) -> Self {
        Self {
            max_connections: connections,
            max_connections_per_client: connections.div_ceil(2),
            ..Self::default()
        }
    }

    /// Connections that are kept for clients which have none: boards that report, operators who look.
    pub(super) fn reserved_connections(&self) -> usize {
        self.max_connections / 8
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_connections: Self::DEFAULT_MAX_CONNECTIONS,
            max_connections_per_client: Self::DEFAULT_MAX_CONNECTIONS / 2,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(1),
            unread_timeout: Duration::from_secs(30),
            max_answer_bytes: 64 * 1024 * 1024,
            max_long_polls: 1024,
        }
    }
}

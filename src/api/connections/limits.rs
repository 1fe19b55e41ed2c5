//! The limits of HTTP connections.

use std::time::Duration;

/// The lowest rate of a client in bytes per second, averaged over a body: a slower client uses up its time.
///
/// A boot loader over a serial line and a phone at the edge of a cell are faster.
pub(in crate::api) const MIN_BYTES_PER_SECOND: u32 = 4096;

/// The limits of HTTP connections; times are real time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections in total.
    pub max_connections: usize,
    /// Connections of one client: one IPv4 address or one IPv6 network (/64).
    pub max_connections_per_client: usize,
    /// From the first byte of a request, or from the opening of the connection, to the end of its header.
    pub header_timeout: Duration,
    /// From the end of the header to the end of the body; a second more for each 4096 bytes of it.
    pub body_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// How long an answer may wait for the client to read on, in total; a second more for each 4096 bytes that it has read.
    pub unread_timeout: Duration,
    /// The memory of answers that wait for their clients, in bytes in total; one client may have a quarter of it, or one answer.
    pub max_answer_bytes: u64,
    /// Long polls in total; one client may have half of them.
    pub max_long_polls: usize,
}

impl HttpLimits {
    /// The default of `max_connections`.
    pub const DEFAULT_MAX_CONNECTIONS: usize = 4096;

    /// The limits of a server with this many connections; one client may have half of them.
    #[must_use]
    pub fn with_max_connections(connections: usize) -> Self {
        Self {
            max_connections: connections,
            max_connections_per_client: connections.div_ceil(2),
            ..Self::default()
        }
    }

    /// Connections that are reserved for clients without any, so that boards can report and operators can look.
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

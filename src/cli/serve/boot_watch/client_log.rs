//! The boot log of one board in memory.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::boards::{BootLogEntry, LoggedRequest, Mac};

/// The pause after which the next request belongs to another boot.
const NEW_BOOT_PAUSE: TimeDelta = TimeDelta::minutes(1);

/// The sender of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum BootClient {
    Board(Mac),
    Address(IpAddr),
}

/// A request with its number.
#[derive(Debug, Clone)]
pub(super) struct NumberedRequest {
    pub(super) number: u64,
    pub(super) request: LoggedRequest,
}

/// The requests of one board, or of one address.
#[derive(Debug)]
pub(super) struct BootClientLog {
    pub(super) peer: IpAddr,
    pub(super) requests: Vec<NumberedRequest>,
    pub(super) omitted: usize,
    pub(super) last_at: DateTime<Utc>,
    pub(super) written: Option<BootLogEntry>,
    /// The number of changes; compared with `written_version`.
    pub(super) version: u64,
    pub(super) written_version: u64,
    pub(super) begun_at: Instant,
    pub(super) write_due_at: Instant,
    /// Whether the board at this address was looked up.
    pub(super) is_looked_up: bool,
}

impl BootClientLog {
    pub(super) fn new(peer: IpAddr, at: DateTime<Utc>, now: Instant) -> Self {
        Self {
            peer,
            requests: Vec::new(),
            omitted: 0,
            last_at: at,
            written: None,
            version: 0,
            written_version: 0,
            begun_at: now,
            write_due_at: now,
            is_looked_up: false,
        }
    }

    pub(super) fn is_changed(&self) -> bool {
        self.version != self.written_version
    }

    pub(super) fn is_over(&self, at: DateTime<Utc>) -> bool {
        at - self.last_at > NEW_BOOT_PAUSE && self.requests.iter().all(|entry| entry.request.end.is_some())
    }

    /// Inserts a request by its number. Beyond `max_requests` the one in the middle is dropped and counted.
    pub(super) fn push(&mut self, request: NumberedRequest, max_requests: usize) {
        self.last_at = self.last_at.max(request.request.at);
        let index = self.requests.partition_point(|other| other.number < request.number);
        self.requests.insert(index, request);
        if self.requests.len() > max_requests {
            self.requests.remove(max_requests / 2);
            self.omitted += 1;
        }
        self.version += 1;
    }
}

//! Boot logs in memory: the requests of each board and address until they are written to the database.
//!
//! A board is identified by the MAC address in the name of a file that it requests, and after that by its IP address, until
//! that IP address names another board or has sent nothing for an hour. Requests from an unknown IP address are kept for a
//! while: if the address names a board soon after, they belong to that board. Pure; times are arguments.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::client_log::{BootClient, BootClientLog, NumberedRequest};
use crate::boards::{BootLog, BootLogEntry, LoggedRequest};
use crate::boards::{Mac, mac_in_name, mac_of_link};

/// The maximum number of requests in a log; beyond it, requests in the middle are only counted.
const MAX_LOGGED_REQUESTS: usize = 100;
/// The maximum number of requests in the log of an unknown address.
const MAX_UNKNOWN_ADDRESS_REQUESTS: usize = 16;
/// The maximum number of boards and addresses with a log in memory.
const MAX_CLIENTS: usize = 10_000;
/// The maximum number of unknown addresses with a log in memory.
const MAX_UNKNOWN_ADDRESSES: usize = 1_000;
/// How long an IP address identifies a board after its last request.
const KEEP_ADDRESS_FOR: TimeDelta = TimeDelta::hours(1);
/// How long requests of an unknown address are kept.
const KEEP_UNKNOWN_ADDRESS_FOR: TimeDelta = TimeDelta::minutes(5);
/// The minimum interval between writes of a log; longer for logs that last long.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum length of a file name in a log, in characters.
const MAX_FILE_NAME_CHARS: usize = 200;

/// The result of writing a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogWriteOutcome {
    /// It is written, to this entry.
    At(BootLogEntry),
    /// No board with this network address is registered.
    NoBoard,
    /// The database failed.
    Failed,
}

/// A log that is due to be written.
#[derive(Debug, Clone)]
pub(super) struct DueBootLog {
    pub(super) mac: Mac,
    pub(super) version: u64,
    pub(super) log: BootLog,
    pub(super) written: Option<BootLogEntry>,
}

/// All logs.
#[derive(Debug, Default)]
pub(super) struct BootClientLogs {
    clients: HashMap<BootClient, BootClientLog>,
    addresses: HashMap<IpAddr, (Mac, DateTime<Utc>)>,
    transfers: HashMap<u64, BootClient>,
    /// The time of the last request that was dropped without a board.
    lost_at: Option<DateTime<Utc>>,
}

/// The sender of a request, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BootRequester {
    /// This board.
    Board(Mac),
    /// An address of no known board.
    UnknownAddress {
        /// Whether it had no log yet.
        is_new: bool,
    },
}

/// A received request.
#[derive(Debug, Clone)]
pub(super) struct BootRequest<'a> {
    pub(super) number: u64,
    pub(super) peer: IpAddr,
    pub(super) file: &'a str,
    /// Why it will not be answered, if it will not.
    pub(super) end: Option<String>,
}

impl BootClientLogs {
    /// Notes a received request.
    pub(super) fn note_request(
        &mut self,
        request: BootRequest<'_>,
        at: DateTime<Utc>,
        now: Instant,
    ) -> BootRequester {
        let BootRequest { number, peer, file, end } = request;
        if let Some(mac) = mac_in_name(file) {
            self.identify(peer, mac, at, now);
        }
        let known = self.addresses.get_mut(&peer).filter(|(_, last)| at - *last <= KEEP_ADDRESS_FOR);
        let client = known.map_or(BootClient::Address(peer), |(mac, last)| {
            *last = at;
            BootClient::Board(*mac)
        });
        let is_boot_config = match client {
            BootClient::Board(mac) => mac_of_link(file) == Some(mac),
            BootClient::Address(_) => false,
        };
        let is_new = !self.clients.contains_key(&client);
        if is_new && !self.has_room(client) {
            self.note_lost(Some(at));
            return BootRequester::UnknownAddress { is_new: false };
        }
        let log = self.clients.entry(client).or_insert_with(|| BootClientLog::new(peer, at, now));
        if log.is_over(at) && !log.is_changed() {
            *log = BootClientLog::new(peer, at, now);
        }
        log.peer = peer;
        let has_config = log.requests.iter().any(|entry| entry.request.is_boot_config);
        if is_boot_config && !has_config {
            log.write_due_at = now;
        }
        if end.is_none() {
            self.transfers.insert(number, client);
        }
        let file = file.chars().take(MAX_FILE_NAME_CHARS).collect();
        let request = LoggedRequest { at, file, is_boot_config, end };
        match client {
            BootClient::Board(mac) => {
                log.push(NumberedRequest { number, request }, MAX_LOGGED_REQUESTS);
                BootRequester::Board(mac)
            }
            BootClient::Address(_) => {
                log.push(NumberedRequest { number, request }, MAX_UNKNOWN_ADDRESS_REQUESTS);
                BootRequester::UnknownAddress { is_new }
            }
        }
    }

    /// Notes the end of a request.
    pub(super) fn note_end(&mut self, number: u64, end: String, at: DateTime<Utc>) -> Option<Mac> {
        let client = self.transfers.remove(&number)?;
        if let Some(log) = self.clients.get_mut(&client)
            && let Some(entry) = log.requests.iter_mut().find(|entry| entry.number == number)
        {
            entry.request.end = Some(end);
            log.last_at = log.last_at.max(at);
            log.version += 1;
        }
        match client {
            BootClient::Board(mac) => Some(mac),
            BootClient::Address(_) => None,
        }
    }

    /// Assigns the address `peer` to the board `mac`, with the recent requests from there. The board loses its other addresses.
    pub(super) fn identify(&mut self, peer: IpAddr, mac: Mac, at: DateTime<Utc>, now: Instant) {
        let is_new = self.addresses.get(&peer).is_none_or(|(known, _)| *known != mac);
        if is_new {
            self.addresses.retain(|_, (other, last)| *other != mac && at - *last <= KEEP_ADDRESS_FOR);
            if self.addresses.len() >= MAX_CLIENTS {
                self.addresses.clear();
            }
        }
        self.addresses.insert(peer, (mac, at));
        let Some(earlier) = self.clients.remove(&BootClient::Address(peer)) else { return };
        let board = BootClient::Board(mac);
        let log = self.clients.entry(board).or_insert_with(|| BootClientLog::new(peer, at, now));
        if log.is_over(at) && !log.is_changed() {
            *log = BootClientLog::new(peer, at, now);
        }
        log.omitted += earlier.omitted;
        for entry in earlier.requests {
            if entry.request.end.is_none() {
                self.transfers.insert(entry.number, board);
            }
            log.push(entry, MAX_LOGGED_REQUESTS);
        }
    }

    /// The unknown addresses that were not looked up yet; each is returned once.
    pub(super) fn unknown_addresses(&mut self) -> Vec<IpAddr> {
        let unknown = self.clients.iter_mut().filter_map(|(client, log)| match client {
            BootClient::Address(peer) if !log.is_looked_up => {
                log.is_looked_up = true;
                Some(*peer)
            }
            BootClient::Address(_) | BootClient::Board(_) => None,
        });
        unknown.collect()
    }

    /// The logs that are due to be written.
    pub(super) fn due_logs(&mut self, now: Instant) -> Vec<DueBootLog> {
        let due = self.clients.iter_mut().filter_map(|(client, log)| {
            let BootClient::Board(mac) = *client else { return None };
            if !log.is_changed() || log.write_due_at > now {
                return None;
            }
            log.write_due_at = now + WRITE_INTERVAL.max((now - log.begun_at) / 10);
            let requests: Vec<LoggedRequest> =
                log.requests.iter().map(|entry| entry.request.clone()).collect();
            let boot_log = BootLog {
                mac: mac.to_string(),
                peer: log.peer.to_string(),
                last_at: log.last_at,
                omitted: log.omitted,
                requests,
            };
            Some(DueBootLog { mac, version: log.version, log: boot_log, written: log.written.clone() })
        });
        due.collect()
    }

    /// Notes the result of writing a log.
    pub(super) fn note_written(&mut self, mac: Mac, version: u64, written: LogWriteOutcome) {
        let board = BootClient::Board(mac);
        match written {
            LogWriteOutcome::At(entry) => {
                let Some(log) = self.clients.get_mut(&board) else { return };
                log.written_version = version;
                // If the power came on meanwhile, earlier requests are in the entry of the previous boot.
                log.requests.retain(|request| request.request.at >= entry.since);
                log.written = Some(entry);
            }
            LogWriteOutcome::NoBoard => {
                let last = self.clients.remove(&board).map(|log| log.last_at);
                self.note_lost(last);
            }
            // The write is retried when it is due.
            LogWriteOutcome::Failed => {}
        }
    }

    /// Drops logs that are over and written, and those of addresses that stayed unknown. Returns whether any logs remain.
    pub(super) fn forget(&mut self, at: DateTime<Utc>) -> bool {
        let mut lost = None;
        self.clients.retain(|client, log| match client {
            BootClient::Board(_) => log.is_changed() || !log.is_over(at),
            BootClient::Address(_) => {
                let is_recent = at - log.last_at <= KEEP_UNKNOWN_ADDRESS_FOR;
                lost = lost.max((!is_recent).then_some(log.last_at));
                is_recent
            }
        });
        self.note_lost(lost);
        !self.clients.is_empty()
    }

    /// The time of the last request that is not assigned to a board.
    pub(super) fn unknown_address_at(&self) -> Option<DateTime<Utc>> {
        let unknown = self.clients.iter().filter_map(|(client, log)| match client {
            BootClient::Address(_) => Some(log.last_at),
            BootClient::Board(_) => None,
        });
        unknown.chain(self.lost_at).max()
    }

    fn has_room(&self, client: BootClient) -> bool {
        match client {
            BootClient::Board(_) => self.clients.len() < MAX_CLIENTS,
            BootClient::Address(_) => {
                let unknown = self.clients.keys().filter(|client| matches!(client, BootClient::Address(_)));
                unknown.count() < MAX_UNKNOWN_ADDRESSES
            }
        }
    }

    fn note_lost(&mut self, at: Option<DateTime<Utc>>) {
        self.lost_at = self.lost_at.max(at);
    }
}

#[cfg(test)]
mod tests;

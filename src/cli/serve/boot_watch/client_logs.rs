//! Boot logs in memory: who asked for what, until it is written down.
//!
//! A board is known by the network address in the name of a file that it asks for, and from then on by where it asks from,
//! until that address names another board or has been silent for long. Requests from an address that is not known yet
//! wait: they are the board's that the address names soon after. Pure; times are arguments.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::client_log::{BootClient, BootClientLog, NumberedRequest};
use crate::boards::{BootLog, BootLogEntry, LoggedRequest};
use crate::boards::{Mac, mac_in_name, mac_of_link};

/// How many requests one log keeps; of more, those in the middle are only counted.
const MAX_LOGGED_REQUESTS: usize = 100;
/// The same where it is not known whose they are.
const MAX_UNKNOWN_ADDRESS_REQUESTS: usize = 16;
/// How many boards and addresses are known at a time; the farms that this is for have fewer.
const MAX_CLIENTS: usize = 10_000;
/// How many of them may be addresses that nobody knows.
const MAX_UNKNOWN_ADDRESSES: usize = 1_000;
/// How long a board's name for an address holds after its last request.
const KEEP_ADDRESS_FOR: TimeDelta = TimeDelta::hours(1);
/// How long requests wait for their address to name its board.
const KEEP_UNKNOWN_ADDRESS_FOR: TimeDelta = TimeDelta::minutes(5);
/// How often a log is written at most; one that goes on for long, more rarely.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a file's name may be in a log, in characters.
const MAX_FILE_NAME_CHARS: usize = 200;

/// What became of writing a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogWriteOutcome {
    /// It is there.
    At(BootLogEntry),
    /// No board with this network address is registered.
    NoBoard,
    /// The database failed.
    Failed,
}

/// A log that is to be written, as it is now.
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
    /// When there last was a request that no board's log has any more.
    lost_at: Option<DateTime<Utc>>,
}

/// Who is taken for the sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BootRequester {
    /// This board.
    Board(Mac),
    /// Nobody knows; `is_new` where the address was not heard of lately.
    UnknownAddress {
        /// See above.
        is_new: bool,
    },
}

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct BootRequest<'a> {
    pub(super) number: u64,
    pub(super) peer: IpAddr,
    pub(super) file: &'a str,
    /// Why it will not be answered, if so.
    pub(super) end: Option<String>,
}

impl BootClientLogs {
    /// A request came.
    pub(super) fn note_request(
        &mut self,
        asked: BootRequest<'_>,
        at: DateTime<Utc>,
        now: Instant,
    ) -> BootRequester {
        let BootRequest { number, peer, file, end } = asked;
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
        let has_config = log.requests.iter().any(|one| one.request.is_boot_config);
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

    /// A request that was asked is over.
    pub(super) fn note_end(&mut self, number: u64, end: String, at: DateTime<Utc>) -> Option<Mac> {
        let client = self.transfers.remove(&number)?;
        if let Some(log) = self.clients.get_mut(&client)
            && let Some(one) = log.requests.iter_mut().find(|one| one.number == number)
        {
            one.request.end = Some(end);
            log.last_at = log.last_at.max(at);
            log.version += 1;
        }
        match client {
            BootClient::Board(mac) => Some(mac),
            BootClient::Address(_) => None,
        }
    }

    /// The board `mac` asks from `peer`: what came from there lately is its, and no other address is.
    pub(super) fn identify(&mut self, peer: IpAddr, mac: Mac, at: DateTime<Utc>, now: Instant) {
        let is_news = self.addresses.get(&peer).is_none_or(|(known, _)| *known != mac);
        if is_news {
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
        for one in earlier.requests {
            if one.request.end.is_none() {
                self.transfers.insert(one.number, board);
            }
            log.push(one, MAX_LOGGED_REQUESTS);
        }
    }

    /// Addresses of which it was not looked for yet whose they are; each comes once.
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

    /// The logs that are to be written now.
    pub(super) fn due_logs(&mut self, now: Instant) -> Vec<DueBootLog> {
        let due = self.clients.iter_mut().filter_map(|(client, log)| {
            let BootClient::Board(mac) = *client else { return None };
            if !log.is_changed() || log.write_due_at > now {
                return None;
            }
            log.write_due_at = now + WRITE_INTERVAL.max((now - log.begun_at) / 10);
            let requests: Vec<LoggedRequest> = log.requests.iter().map(|one| one.request.clone()).collect();
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

    /// A log was written, or not.
    pub(super) fn note_written(&mut self, mac: Mac, version: u64, written: LogWriteOutcome) {
        let board = BootClient::Board(mac);
        match written {
            LogWriteOutcome::At(place) => {
                let Some(log) = self.clients.get_mut(&board) else { return };
                log.written_version = version;
                // Its power came on meanwhile: what was before is in the entry of the boot before.
                log.requests.retain(|one| one.request.at >= place.since);
                log.written = Some(place);
            }
            LogWriteOutcome::NoBoard => {
                let last = self.clients.remove(&board).map(|log| log.last_at);
                self.note_lost(last);
            }
            // It is tried again when it is due.
            LogWriteOutcome::Failed => {}
        }
    }

    /// Forgets what is over and written, and what no board has claimed; whether something is left to be looked after.
    pub(super) fn forget(&mut self, at: DateTime<Utc>) -> bool {
        let mut lost = None;
        self.clients.retain(|client, log| match client {
            BootClient::Board(_) => log.is_changed() || !log.is_over(at),
            BootClient::Address(_) => {
                let is_kept = at - log.last_at <= KEEP_UNKNOWN_ADDRESS_FOR;
                lost = lost.max((!is_kept).then_some(log.last_at));
                is_kept
            }
        });
        self.note_lost(lost);
        !self.clients.is_empty()
    }

    /// When there last was a request of which it is not known whose it was.
    pub(super) fn unknown_address_at(&self) -> Option<DateTime<Utc>> {
        let strangers = self.clients.iter().filter_map(|(client, log)| match client {
            BootClient::Address(_) => Some(log.last_at),
            BootClient::Board(_) => None,
        });
        strangers.chain(self.lost_at).max()
    }

    fn has_room(&self, client: BootClient) -> bool {
        match client {
            BootClient::Board(_) => self.clients.len() < MAX_CLIENTS,
            BootClient::Address(_) => {
                let strangers = self.clients.keys().filter(|client| matches!(client, BootClient::Address(_)));
                strangers.count() < MAX_UNKNOWN_ADDRESSES
            }
        }
    }

    fn note_lost(&mut self, at: Option<DateTime<Utc>>) {
        self.lost_at = self.lost_at.max(at);
    }
}

#[cfg(test)]
mod tests;

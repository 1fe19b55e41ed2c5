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

use super::log::{Client, Log, Numbered};
use crate::boards::{BootLog, LoggedAt, LoggedRequest};
use crate::boards::{Mac, mac_in_name, mac_of_link};

/// How many requests one log keeps; of more, those in the middle are only counted.
const MAX_REQUESTS: usize = 100;
/// The same where it is not known whose they are.
const MAX_STRANGER_REQUESTS: usize = 16;
/// How many boards and addresses are known at a time; the farms that this is for have fewer.
const MAX_CLIENTS: usize = 10_000;
/// How many of them may be addresses that nobody knows.
const MAX_STRANGERS: usize = 1_000;
/// How long a board's name for an address holds after its last request.
const ADDRESS_FOR: TimeDelta = TimeDelta::hours(1);
/// How long requests wait for their address to name its board.
const STRANGER_FOR: TimeDelta = TimeDelta::minutes(5);
/// How often a log is written at most; one that goes on for long, more rarely.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a file's name may be in a log, in characters.
const MAX_NAME: usize = 200;

/// What became of writing a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// It is there.
    At(LoggedAt),
    /// No board with this network address is registered.
    NoBoard,
    /// The database failed.
    Failed,
}

/// A log that is to be written, as it is now.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) mac: Mac,
    pub(super) version: u64,
    pub(super) log: BootLog,
    pub(super) written: Option<LoggedAt>,
}

/// All logs.
#[derive(Debug, Default)]
pub(super) struct Logs {
    clients: HashMap<Client, Log>,
    addresses: HashMap<IpAddr, (Mac, DateTime<Utc>)>,
    running: HashMap<u64, Client>,
    /// When there last was a request that no board's log has any more.
    lost_at: Option<DateTime<Utc>>,
}

/// Who is taken for the sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// This board.
    Board(Mac),
    /// Nobody knows; `is_new` where the address was not heard of lately.
    Stranger {
        /// See above.
        is_new: bool,
    },
}

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Asked<'a> {
    pub(super) number: u64,
    pub(super) peer: IpAddr,
    pub(super) file: &'a str,
    /// Why it will not be answered, if so.
    pub(super) end: Option<String>,
}

impl Logs {
    /// A request came.
    pub(super) fn asked(&mut self, asked: Asked<'_>, at: DateTime<Utc>, now: Instant) -> Sender {
        let Asked { number, peer, file, end } = asked;
        if let Some(mac) = mac_in_name(file) {
            self.identify(peer, mac, at, now);
        }
        let known = self.addresses.get_mut(&peer).filter(|(_, last)| at - *last <= ADDRESS_FOR);
        let client = known.map_or(Client::Address(peer), |(mac, last)| {
            *last = at;
            Client::Board(*mac)
        });
        let is_boot_config = match client {
            Client::Board(mac) => mac_of_link(file) == Some(mac),
            Client::Address(_) => false,
        };
        let is_new = !self.clients.contains_key(&client);
        if is_new && !self.has_room(client) {
            self.lose(Some(at));
            return Sender::Stranger { is_new: false };
        }
        let log = self.clients.entry(client).or_insert_with(|| Log::new(peer, at, now));
        if log.is_over(at) && !log.is_changed() {
            *log = Log::new(peer, at, now);
        }
        log.peer = peer;
        let has_config = log.requests.iter().any(|one| one.request.is_boot_config);
        if is_boot_config && !has_config {
            log.due = now;
        }
        if end.is_none() {
            self.running.insert(number, client);
        }
        let file = file.chars().take(MAX_NAME).collect();
        let request = LoggedRequest { at, file, is_boot_config, end };
        match client {
            Client::Board(mac) => {
                log.push(Numbered { number, request }, MAX_REQUESTS);
                Sender::Board(mac)
            }
            Client::Address(_) => {
                log.push(Numbered { number, request }, MAX_STRANGER_REQUESTS);
                Sender::Stranger { is_new }
            }
        }
    }

    /// A request that was asked is over.
    pub(super) fn ended(&mut self, number: u64, end: String, at: DateTime<Utc>) -> Option<Mac> {
        let client = self.running.remove(&number)?;
        if let Some(log) = self.clients.get_mut(&client)
            && let Some(one) = log.requests.iter_mut().find(|one| one.number == number)
        {
            one.request.end = Some(end);
            log.last_at = log.last_at.max(at);
            log.version += 1;
        }
        match client {
            Client::Board(mac) => Some(mac),
            Client::Address(_) => None,
        }
    }

    /// The board `mac` asks from `peer`: what came from there lately is its, and no other address is.
    pub(super) fn identify(&mut self, peer: IpAddr, mac: Mac, at: DateTime<Utc>, now: Instant) {
        let is_news = self.addresses.get(&peer).is_none_or(|(known, _)| *known != mac);
        if is_news {
            self.addresses.retain(|_, (other, last)| *other != mac && at - *last <= ADDRESS_FOR);
            if self.addresses.len() >= MAX_CLIENTS {
                self.addresses.clear();
            }
        }
        self.addresses.insert(peer, (mac, at));
        let Some(earlier) = self.clients.remove(&Client::Address(peer)) else { return };
        let board = Client::Board(mac);
        let log = self.clients.entry(board).or_insert_with(|| Log::new(peer, at, now));
        if log.is_over(at) && !log.is_changed() {
            *log = Log::new(peer, at, now);
        }
        log.omitted += earlier.omitted;
        for one in earlier.requests {
            if one.request.end.is_none() {
                self.running.insert(one.number, board);
            }
            log.push(one, MAX_REQUESTS);
        }
    }

    /// Addresses of which it was not looked for yet whose they are; each comes once.
    pub(super) fn strangers(&mut self) -> Vec<IpAddr> {
        let unknown = self.clients.iter_mut().filter_map(|(client, log)| match client {
            Client::Address(peer) if !log.is_looked_up => {
                log.is_looked_up = true;
                Some(*peer)
            }
            Client::Address(_) | Client::Board(_) => None,
        });
        unknown.collect()
    }

    /// The logs that are to be written now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Due> {
        let due = self.clients.iter_mut().filter_map(|(client, log)| {
            let Client::Board(mac) = *client else { return None };
            if !log.is_changed() || log.due > now {
                return None;
            }
            log.due = now + WRITE_INTERVAL.max((now - log.begun) / 10);
            let requests: Vec<LoggedRequest> = log.requests.iter().map(|one| one.request.clone()).collect();
            let boot_log = BootLog {
                mac: mac.to_string(),
                peer: log.peer.to_string(),
                last_at: log.last_at,
                omitted: log.omitted,
                requests,
            };
            Some(Due { mac, version: log.version, log: boot_log, written: log.written.clone() })
        });
        due.collect()
    }

    /// A log was written, or not.
    pub(super) fn wrote(&mut self, mac: Mac, version: u64, written: Written) {
        let board = Client::Board(mac);
        match written {
            Written::At(place) => {
                let Some(log) = self.clients.get_mut(&board) else { return };
                log.written_version = version;
                // Its power came on meanwhile: what was before is in the entry of the boot before.
                log.requests.retain(|one| one.request.at >= place.since);
                log.written = Some(place);
            }
            Written::NoBoard => {
                let last = self.clients.remove(&board).map(|log| log.last_at);
                self.lose(last);
            }
            // It is tried again when it is due.
            Written::Failed => {}
        }
    }

    /// Forgets what is over and written, and what no board has claimed; whether something is left to be looked after.
    pub(super) fn forget(&mut self, at: DateTime<Utc>) -> bool {
        let mut lost = None;
        self.clients.retain(|client, log| match client {
            Client::Board(_) => log.is_changed() || !log.is_over(at),
            Client::Address(_) => {
                let is_kept = at - log.last_at <= STRANGER_FOR;
                lost = lost.max((!is_kept).then_some(log.last_at));
                is_kept
            }
        });
        self.lose(lost);
        !self.clients.is_empty()
    }

    /// When there last was a request of which it is not known whose it was.
    pub(super) fn stranger_at(&self) -> Option<DateTime<Utc>> {
        let strangers = self.clients.iter().filter_map(|(client, log)| match client {
            Client::Address(_) => Some(log.last_at),
            Client::Board(_) => None,
        });
        strangers.chain(self.lost_at).max()
    }

    fn has_room(&self, client: Client) -> bool {
        match client {
            Client::Board(_) => self.clients.len() < MAX_CLIENTS,
            Client::Address(_) => {
                let strangers = self.clients.keys().filter(|client| matches!(client, Client::Address(_)));
                strangers.count() < MAX_STRANGERS
            }
        }
    }

    fn lose(&mut self, at: Option<DateTime<Utc>>) {
        self.lost_at = self.lost_at.max(at);
    }
}

#[cfg(test)]
mod tests;

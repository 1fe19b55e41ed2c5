//! How much one server does at once, how patient it is, and who has to wait where that is not enough.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

/// What a client acknowledges at least, in bytes a second, averaged over a transfer: one that acknowledges a block now and
/// then would keep its place for as long as a transfer may take.
///
/// A boot loader over a serial line is faster; HTTP has the same rate.
pub(super) const MIN_BYTES_PER_SECOND: u64 = 4096;

/// How patient and how busy a server may be.
///
/// Anybody can forge a request. Until the client has shown itself by an ACK, one request makes the server send one packet,
/// and that once again: without options two blocks of 512 bytes, 86 times the 12 bytes of the shortest request; with options
/// two OACKs, which are about as long as the request. Whoever repeats the request has that packet again at most once each
/// [`TftpLimits::first_retransmit_after`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TftpLimits {
    /// The wait before the first retransmission; each further one waits twice as long. A client's `timeout` option
    /// replaces these waits once it has answered.
    pub first_retransmit_after: Duration,
    /// The longest wait between two retransmissions.
    pub max_retransmit_wait: Duration,
    /// How often one window is sent again before its client is taken for silent.
    pub max_retransmits: u32,
    /// How long a client that has never answered is waited for.
    pub first_answer_timeout: Duration,
    /// How long a client that has answered may be silent, whatever its `timeout` option says.
    pub max_silence: Duration,
    /// How long one transfer may take.
    pub max_transfer_time: Duration,
    /// How long a transfer may be slower than `MIN_RATE`: so long in all, and a second more for each 4096 bytes that its
    /// client has acknowledged.
    pub slow_allowance: Duration,
    /// The most requests that are answered at the same time; each has up to two descriptors and 200 KB of memory. One more
    /// takes the place of one that nobody has answered, or is dropped without an answer: the client asks again after a second
    /// or so by itself, whereas an ERROR would make a boot loader give up.
    pub max_transfers: usize,
    /// The most of them for one client's address; behind NAT many boards have one.
    pub max_transfers_per_client: usize,
}

impl Default for TftpLimits {
    /// 1, 2, 4, 4, 4 and 4 seconds; 512 transfers, 128 for one address.
    fn default() -> Self {
        Self {
            first_retransmit_after: Duration::from_secs(1),
            max_retransmit_wait: Duration::from_secs(4),
            max_retransmits: 5,
            first_answer_timeout: Duration::from_secs(6),
            max_silence: Duration::from_mins(1),
            max_transfer_time: Duration::from_hours(1),
            slow_allowance: Duration::from_mins(1),
            max_transfers: 512,
            max_transfers_per_client: 128,
        }
    }
}

/// A running transfer, as far as it matters who has to give way.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransferSlot {
    /// Whose it is.
    pub peer: SocketAddr,
    /// When it was asked for.
    pub requested_at: Instant,
    /// Whether the client has answered.
    pub is_answered: bool,
}

/// Whether there is room for one more transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransferAdmission {
    /// There is.
    Admit,
    /// In the place of this client's transfer, which nobody has answered.
    Replace(SocketAddr),
    /// There is none.
    Refuse,
}

/// Decides whether there is room for a request from `client` at `now`.
///
/// Where there is none, the oldest unanswered transfer of the address with the most of them gives way: to an address that has
/// fewer, and to everybody once it has gone unanswered for as long as the first retransmission takes. An address that is at
/// its own limit can only have its own transfers' places.
pub(super) fn decide_admission(
    limits: &TftpLimits,
    running: impl Iterator<Item = TransferSlot> + Clone,
    client: IpAddr,
    now: Instant,
) -> TransferAdmission {
    let own = running.clone().filter(|slot| slot.peer.ip() == client).count();
    let is_own_limit = own >= limits.max_transfers_per_client;
    if !is_own_limit && running.clone().count() < limits.max_transfers {
        return TransferAdmission::Admit;
    }
    let mut unanswered: HashMap<IpAddr, (usize, TransferSlot)> = HashMap::new();
    for slot in running.filter(|slot| !slot.is_answered && (!is_own_limit || slot.peer.ip() == client)) {
        let (count, oldest) = unanswered.entry(slot.peer.ip()).or_insert((0, slot));
        *count += 1;
        if slot.requested_at < oldest.requested_at {
            *oldest = slot;
        }
    }
    let own = unanswered.get(&client).map_or(0, |(count, _)| *count);
    let greediest =
        unanswered.into_values().max_by_key(|(count, oldest)| (*count, now - oldest.requested_at));
    match greediest {
        Some((count, oldest))
            if count > own + 1 || now - oldest.requested_at >= limits.first_retransmit_after =>
        {
            TransferAdmission::Replace(oldest.peer)
        }
        Some(_) | None => TransferAdmission::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TftpLimits = TftpLimits {
        first_retransmit_after: Duration::from_secs(1),
        max_retransmit_wait: Duration::from_secs(4),
        max_retransmits: 5,
        first_answer_timeout: Duration::from_secs(6),
        max_silence: Duration::from_mins(1),
        max_transfer_time: Duration::from_hours(1),
        slow_allowance: Duration::from_mins(1),
        max_transfers: 4,
        max_transfers_per_client: 3,
    };

    fn slot(host: u8, port: u16, age_ms: u64, now: Instant) -> TransferSlot {
        let peer = SocketAddr::from(([10, 0, 0, host], port));
        TransferSlot { peer, requested_at: now - Duration::from_millis(age_ms), is_answered: false }
    }

    fn asks(host: u8, running: &[TransferSlot], now: Instant) -> TransferAdmission {
        decide_admission(&LIMITS, running.iter().copied(), IpAddr::from([10, 0, 0, host]), now)
    }

    #[test]
    fn where_nothing_else_is_said_the_limits_are_those_of_the_documentation() {
        assert_eq!(
            TftpLimits::default(),
            TftpLimits { max_transfers: 512, max_transfers_per_client: 128, ..LIMITS }
        );
    }

    #[test]
    fn there_is_room_up_to_each_limit() {
        let now = Instant::now() + Duration::from_mins(1);
        let running: Vec<TransferSlot> = (1..=3).map(|port| slot(1, port, 10, now)).collect();
        assert_eq!(asks(2, &running, now), TransferAdmission::Admit);
        assert_eq!(asks(1, &running[..2], now), TransferAdmission::Admit);
        assert_eq!(asks(1, &running, now), TransferAdmission::Refuse, "its own are young");
    }

    #[test]
    fn the_oldest_unanswered_transfer_of_the_greediest_gives_way() {
        let now = Instant::now() + Duration::from_mins(1);
        let mut running =
            vec![slot(1, 1, 20, now), slot(1, 2, 30, now), slot(1, 3, 10, now), slot(2, 1, 900, now)];
        assert_eq!(asks(3, &running, now), TransferAdmission::Replace(running[1].peer));
        assert_eq!(asks(2, &running, now), TransferAdmission::Replace(running[1].peer));
        running[1].is_answered = true;
        running[2].is_answered = true;
        assert_eq!(asks(3, &running, now), TransferAdmission::Refuse, "one each, and young");
        running[3] = slot(2, 1, 1000, now);
        assert_eq!(asks(3, &running, now), TransferAdmission::Replace(running[3].peer));
        for slot in &mut running {
            slot.is_answered = true;
        }
        assert_eq!(asks(3, &running, now), TransferAdmission::Refuse, "who answers is never sent away");
    }

    #[test]
    fn whoever_is_at_its_own_limit_takes_nobody_else_s_place() {
        let now = Instant::now() + Duration::from_mins(1);
        let mut running: Vec<TransferSlot> = (1..=3).map(|port| slot(1, port, 10, now)).collect();
        running.push(slot(2, 1, 5000, now));
        assert_eq!(asks(1, &running, now), TransferAdmission::Refuse);
        running[2] = slot(1, 3, 1500, now);
        assert_eq!(asks(1, &running, now), TransferAdmission::Replace(running[2].peer));
    }
}

//! Limits and timeouts of the server, and the admission of transfers under overload.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

/// Minimum acknowledged rate of a client in bytes per second, averaged over a transfer. Without it, a client that
/// acknowledges a block now and then would occupy a transfer for the maximum time.
///
/// A boot loader over a serial line is faster. The HTTP server uses the same rate.
pub(super) const MIN_BYTES_PER_SECOND: u64 = 4096;

/// Limits and timeouts of a server.
///
/// Requests can be forged. Until the first ACK of a client, one request causes two packets at most: without options two
/// blocks of 512 bytes, 86 times the 12 bytes of the shortest request; with options two OACKs, which are about as long
/// as the request. A repeated request causes that packet again at most once per [`TftpLimits::first_retransmit_after`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TftpLimits {
    /// The wait before the first retransmission; each further one waits twice as long. A client's `timeout` option
    /// replaces these waits once it has answered.
    pub first_retransmit_after: Duration,
    /// The longest wait between two retransmissions.
    pub max_retransmit_wait: Duration,
    /// Number of retransmissions of one window before its client counts as silent.
    pub max_retransmits: u32,
    /// How long to wait for a client that has never answered.
    pub first_answer_timeout: Duration,
    /// How long a client that has answered may be silent, regardless of its `timeout` option.
    pub max_silence: Duration,
    /// The longest time of one transfer.
    pub max_transfer_time: Duration,
    /// How long a transfer may be slower than 4096 bytes per second: this time in total, plus a second for each 4096
    /// bytes acknowledged.
    pub slow_allowance: Duration,
    /// The largest number of concurrent transfers; each uses up to two file descriptors and 200 KB of memory. A further
    /// request replaces an unanswered transfer, or is dropped without an answer: the client retries after about a
    /// second, while an ERROR would make a boot loader give up.
    pub max_transfers: usize,
    /// The largest number of transfers for one client address; behind NAT many boards share one.
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

/// A running transfer, as seen by the admission.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransferSlot {
    /// Its client.
    pub peer: SocketAddr,
    /// When it was requested.
    pub requested_at: Instant,
    /// Whether the client has answered.
    pub is_answered: bool,
}

/// Decision about one more transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransferAdmission {
    /// There is capacity.
    Admit,
    /// It replaces this client's unanswered transfer.
    Replace(SocketAddr),
    /// There is no capacity.
    Refuse,
}

/// Decides whether a request from `client` is admitted at `now`.
///
/// Without capacity, the oldest unanswered transfer of the address with the most of them is replaced: for an address
/// that has fewer, and for any address once it has been unanswered for the first retransmission time. An address at its
/// own limit can only replace its own transfers.
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
    let largest = unanswered.into_values().max_by_key(|(count, oldest)| (*count, now - oldest.requested_at));
    match largest {
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

    fn admission(host: u8, running: &[TransferSlot], now: Instant) -> TransferAdmission {
        decide_admission(&LIMITS, running.iter().copied(), IpAddr::from([10, 0, 0, host]), now)
    }

    #[test]
    fn the_default_limits_are_the_documented_ones() {
        assert_eq!(
            TftpLimits::default(),
            TftpLimits { max_transfers: 512, max_transfers_per_client: 128, ..LIMITS }
        );
    }

    #[test]
    fn transfers_are_admitted_up_to_each_limit() {
        let now = Instant::now() + Duration::from_mins(1);
        let running: Vec<TransferSlot> = (1..=3).map(|port| slot(1, port, 10, now)).collect();
        assert_eq!(admission(2, &running, now), TransferAdmission::Admit);
        assert_eq!(admission(1, &running[..2], now), TransferAdmission::Admit);
        assert_eq!(admission(1, &running, now), TransferAdmission::Refuse, "its own transfers are recent");
    }

    #[test]
    fn the_oldest_unanswered_transfer_of_the_busiest_address_is_replaced() {
        let now = Instant::now() + Duration::from_mins(1);
        let mut running =
            vec![slot(1, 1, 20, now), slot(1, 2, 30, now), slot(1, 3, 10, now), slot(2, 1, 900, now)];
        assert_eq!(admission(3, &running, now), TransferAdmission::Replace(running[1].peer));
        assert_eq!(admission(2, &running, now), TransferAdmission::Replace(running[1].peer));
        running[1].is_answered = true;
        running[2].is_answered = true;
        assert_eq!(admission(3, &running, now), TransferAdmission::Refuse, "one each, and recent");
        running[3] = slot(2, 1, 1000, now);
        assert_eq!(admission(3, &running, now), TransferAdmission::Replace(running[3].peer));
        for slot in &mut running {
            slot.is_answered = true;
        }
        assert_eq!(
            admission(3, &running, now),
            TransferAdmission::Refuse,
            "an answered transfer is never replaced"
        );
    }

    #[test]
    fn an_address_at_its_own_limit_replaces_only_its_own_transfers() {
        let now = Instant::now() + Duration::from_mins(1);
        let mut running: Vec<TransferSlot> = (1..=3).map(|port| slot(1, port, 10, now)).collect();
        running.push(slot(2, 1, 5000, now));
        assert_eq!(admission(1, &running, now), TransferAdmission::Refuse);
        running[2] = slot(1, 3, 1500, now);
        assert_eq!(admission(1, &running, now), TransferAdmission::Replace(running[2].peer));
    }
}

//! What a client's options mean, and what the server makes of them.
//!
//! Pure. An option that is unknown, or whose value makes no sense, is left out of the answer, which is how a server
//! declines it; the transfer goes on without it.
//!
//! Source: RFC 2347 (negotiation), RFC 2348 (blksize), RFC 2349 (timeout, tsize), RFC 7440 (windowsize).

use std::ops::RangeInclusive;
use std::time::Duration;

use super::packet::OptionPair;

/// The payload of a DATA packet where nothing was agreed.
///
/// Source: RFC 1350 §2.
pub(super) const DEFAULT_BLOCK_BYTES: usize = 512;

/// The payloads that can be agreed on.
///
/// Source: RFC 2348, "Blocksize Option Specification".
pub(super) const BLOCK_BYTES_RANGE: RangeInclusive<u64> = 8..=65_464;

/// The most blocks that are sent without an ACK between them.
///
/// RFC 7440 allows 65,535. A request is one datagram that anybody can forge, and what it makes the server send before
/// the first ACK must stay small; boot loaders ask for 4 to 16.
/// Source: measured: twenty forged requests for the RFC's largest window cost other servers a gigabyte.
pub(super) const MAX_WINDOW_BLOCKS: u64 = 64;

/// The retransmission times that can be agreed on, in seconds.
///
/// RFC 2349 allows 255. With a handful of retries each, so long a time would let one datagram hold one of the server's
/// transfers for twenty minutes; a longer time is declined.
const TIMEOUT_S_RANGE: RangeInclusive<u64> = 1..=30;

/// What was agreed for one transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NegotiatedOptions {
    /// The payload of each DATA packet but the last.
    pub block_bytes: usize,
    /// The blocks that are sent without an ACK between them.
    pub window_blocks: usize,
    /// The time between retransmissions, where the client gave one.
    pub timeout: Option<Duration>,
    /// The answer for the OACK; empty when no option was taken, and then there is no OACK.
    pub answer: Vec<OptionPair>,
}

/// Decides what the server makes of a client's options for a file of `size_bytes`, where the size can be told, and at most
/// `max_window_blocks` blocks a window.
///
/// An empty file's size is not told: curl takes `tsize 0` for an illegal answer and gives up.
pub(super) fn negotiate(
    options: &[OptionPair],
    size_bytes: Option<u64>,
    max_window_blocks: u64,
) -> NegotiatedOptions {
    let mut agreed = NegotiatedOptions {
        block_bytes: DEFAULT_BLOCK_BYTES,
        window_blocks: 1,
        timeout: None,
        answer: Vec::new(),
    };
    for (name, value) in options {
        let name = name.to_ascii_lowercase();
        // RFC 2347: an option stands once; of a second one nothing is known.
        if agreed.answer.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let Some(asked) = decimal(value) else { continue };
        let taken = match name.as_str() {
            "blksize" if asked >= *BLOCK_BYTES_RANGE.start() => {
                let bytes = asked.min(*BLOCK_BYTES_RANGE.end());
                usize::try_from(bytes).ok().map(|bytes| agreed.block_bytes = bytes).map(|()| bytes)
            }
            "windowsize" if asked > 0 => {
                let blocks = asked.min(max_window_blocks);
                usize::try_from(blocks).ok().map(|blocks| agreed.window_blocks = blocks).map(|()| blocks)
            }
            "timeout" if TIMEOUT_S_RANGE.contains(&asked) => {
                agreed.timeout = Some(Duration::from_secs(asked));
                Some(asked)
            }
            "tsize" => size_bytes.filter(|size| *size > 0),
            _ => None,
        };
        if let Some(taken) = taken {
            agreed.answer.push((name, taken.to_string()));
        }
    }
    agreed
}

/// Reads a number that is written with digits alone.
pub(super) fn decimal(value: &str) -> Option<u64> {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| value.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(options: &[(&str, &str)], size_bytes: Option<u64>) -> Vec<(String, String)> {
        negotiate(&owned(options), size_bytes, MAX_WINDOW_BLOCKS).answer
    }

    fn owned(options: &[(&str, &str)]) -> Vec<OptionPair> {
        options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_are_taken_clamped_or_declined() {
        for (name, value, taken) in [
            ("blksize", "1428", Some("1428")),
            ("BLKSIZE", "1428", Some("1428")),
            ("blksize", "8", Some("8")),
            ("blksize", "70000", Some("65464")),
            ("blksize", "7", None),
            ("blksize", "4", None),
            ("blksize", "abc", None),
            ("blksize", "+512", None),
            ("blksize", " 512", None),
            ("blksize", "", None),
            ("blksize", "99999999999999999999999", None),
            ("windowsize", "16", Some("16")),
            ("windowsize", "65535", Some("64")),
            ("windowsize", "0", None),
            ("timeout", "1", Some("1")),
            ("timeout", "30", Some("30")),
            ("timeout", "0", None),
            ("timeout", "31", None),
            ("tsize", "0", Some("1234")),
            ("tsize", "x", None),
            ("multicast", "", None),
        ] {
            let expected: Vec<_> =
                taken.map(|taken| (name.to_lowercase(), taken.to_owned())).into_iter().collect();
            assert_eq!(answer(&[(name, value)], Some(1234)), expected, "{name} {value}");
        }
    }

    #[test]
    fn the_size_is_not_told_when_it_is_unknown_or_zero() {
        assert_eq!(answer(&[("tsize", "0")], None), []);
        assert_eq!(answer(&[("tsize", "0")], Some(0)), []);
    }

    #[test]
    fn the_first_of_two_equal_options_counts() {
        let agreed = negotiate(&owned(&[("blksize", "1024"), ("blkSize", "2048")]), None, MAX_WINDOW_BLOCKS);
        assert_eq!((agreed.block_bytes, agreed.answer.len()), (1024, 1));
    }

    proptest! {
        #[test]
        fn what_is_agreed_is_within_bounds(
            options in proptest::collection::vec(
                ("blksize|windowsize|timeout|tsize|x", prop_oneof!["[0-9]{0,6}", "\\PC{0,4}"]), 0..8),
            size: Option<u64>,
        ) {
            let agreed = negotiate(&options, size, MAX_WINDOW_BLOCKS);
            prop_assert!((8..=65_464).contains(&agreed.block_bytes));
            prop_assert!((1..=64).contains(&agreed.window_blocks));
            prop_assert!(agreed.answer.len() <= 4);
        }
    }
}

//! Negotiation of a client's options.
//!
//! Pure functions. An unknown or invalid option is left out of the answer, which declines it; the transfer continues
//! without it.
//!
//! Source: RFC 2347 (negotiation), RFC 2348 (blksize), RFC 2349 (timeout, tsize), RFC 7440 (windowsize).

use std::ops::RangeInclusive;
use std::time::Duration;

use super::packet::OptionPair;

/// The default payload of a DATA packet.
///
/// Source: RFC 1350 §2.
pub(super) const DEFAULT_BLOCK_BYTES: usize = 512;

/// The valid values of `blksize`.
///
/// Source: RFC 2348, "Blocksize Option Specification".
pub(super) const BLOCK_BYTES_RANGE: RangeInclusive<u64> = 8..=65_464;

/// The largest number of blocks sent without an ACK between them.
///
/// RFC 7440 allows 65,535. A request is one datagram that can be forged, so the data it causes before the first ACK
/// must stay small; boot loaders request 4 to 16. Source: measured: twenty forged requests for the RFC's largest window
/// cost other servers a gigabyte.
pub(super) const MAX_WINDOW_BLOCKS: u64 = 64;

/// The valid values of `timeout`, in seconds.
///
/// RFC 2349 allows 255. With that value and a few retries, one datagram could occupy a transfer for twenty minutes;
/// longer times are declined.
const TIMEOUT_S_RANGE: RangeInclusive<u64> = 1..=30;

/// The options negotiated for one transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NegotiatedOptions {
    /// The payload of each DATA packet but the last.
    pub block_bytes: usize,
    /// The blocks that are sent without an ACK between them.
    pub window_blocks: usize,
    /// The time between retransmissions, if the client set it.
    pub timeout: Option<Duration>,
    /// The options for the OACK; if empty, no OACK is sent.
    pub answer: Vec<OptionPair>,
}

/// Negotiates a client's options for a file of `size_bytes`, if known, with at most `max_window_blocks` blocks per
/// window.
///
/// An empty file's size is omitted: curl treats `tsize 0` as an illegal answer and gives up.
pub(super) fn negotiate(
    options: &[OptionPair],
    size_bytes: Option<u64>,
    max_window_blocks: u64,
) -> NegotiatedOptions {
    let mut negotiated = NegotiatedOptions {
        block_bytes: DEFAULT_BLOCK_BYTES,
        window_blocks: 1,
        timeout: None,
        answer: Vec::new(),
    };
    for (name, value) in options {
        let name = name.to_ascii_lowercase();
        // RFC 2347: an option occurs once; a second one is ignored.
        if negotiated.answer.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let Some(requested) = decimal(value) else { continue };
        let accepted = match name.as_str() {
            "blksize" if requested >= *BLOCK_BYTES_RANGE.start() => {
                let bytes = requested.min(*BLOCK_BYTES_RANGE.end());
                usize::try_from(bytes).ok().map(|bytes| negotiated.block_bytes = bytes).map(|()| bytes)
            }
            "windowsize" if requested > 0 => {
                let blocks = requested.min(max_window_blocks);
                usize::try_from(blocks).ok().map(|blocks| negotiated.window_blocks = blocks).map(|()| blocks)
            }
            "timeout" if TIMEOUT_S_RANGE.contains(&requested) => {
                negotiated.timeout = Some(Duration::from_secs(requested));
                Some(requested)
            }
            "tsize" => size_bytes.filter(|size| *size > 0),
            _ => None,
        };
        if let Some(accepted) = accepted {
            negotiated.answer.push((name, accepted.to_string()));
        }
    }
    negotiated
}

/// Parses a number of decimal digits only.
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
    fn values_are_accepted_clamped_or_declined() {
        for (name, value, accepted) in [
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
                accepted.map(|accepted| (name.to_lowercase(), accepted.to_owned())).into_iter().collect();
            assert_eq!(answer(&[(name, value)], Some(1234)), expected, "{name} {value}");
        }
    }

    #[test]
    fn the_size_is_omitted_when_it_is_unknown_or_zero() {
        assert_eq!(answer(&[("tsize", "0")], None), []);
        assert_eq!(answer(&[("tsize", "0")], Some(0)), []);
    }

    #[test]
    fn the_first_of_two_equal_options_counts() {
        let negotiated =
            negotiate(&owned(&[("blksize", "1024"), ("blkSize", "2048")]), None, MAX_WINDOW_BLOCKS);
        assert_eq!((negotiated.block_bytes, negotiated.answer.len()), (1024, 1));
    }

    proptest! {
        #[test]
        fn negotiated_options_are_within_bounds(
            options in proptest::collection::vec(
                ("blksize|windowsize|timeout|tsize|x", prop_oneof!["[0-9]{0,6}", "\\PC{0,4}"]), 0..8),
            size: Option<u64>,
        ) {
            let negotiated = negotiate(&options, size, MAX_WINDOW_BLOCKS);
            prop_assert!((8..=65_464).contains(&negotiated.block_bytes));
            prop_assert!((1..=64).contains(&negotiated.window_blocks));
            prop_assert!(negotiated.answer.len() <= 4);
        }
    }
}

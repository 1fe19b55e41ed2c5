//! The two requests for coils, their answers, and Modbus TCP frames. RTU frames: [`rtu`](super::rtu).
//!
//! Pure functions; no frame is longer than 260 bytes. An answer is accepted only if it matches the request. Frames of
//! other requests and bytes that are not Modbus TCP are distinguished.

use crate::client::ParsedAnswer;

/// The longest frame. Source: Modbus Messaging on TCP/IP Implementation Guide 1.0b, 4.2.
const MAX_FRAME_BYTES: usize = 260;

/// Length of the prefix before the unit: transaction, protocol (0 for Modbus) and the number of bytes that follow.
const PREFIX_BYTES: usize = 6;
/// Number of bytes after the prefix: at least unit, function and one byte of data.
const VALID_LENGTHS: std::ops::RangeInclusive<usize> = 3..=MAX_FRAME_BYTES - PREFIX_BYTES;

/// The value that switches a coil on. Source: Modbus Application Protocol 1.1b3, 6.5.
pub(super) const COIL_ON: u16 = 0xff00;
/// The value that switches a coil off. Source: the same.
const COIL_OFF: u16 = 0;

/// Added to the error where the answer begins like an RTU frame.
const RTU_HINT: &str = " (looks like an RTU frame)";

pub(super) const READ_COILS: u8 = 1;
pub(super) const WRITE_COIL: u8 = 5;
/// Marks the function of an answer as an exception.
pub(super) const EXCEPTION_BIT: u8 = 0x80;

/// A request to a relay board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModbusRequest {
    /// Reads `count` coils from `first` on, at most eight.
    Read { first: u16, count: u8 },
    /// Writes one coil: [`COIL_ON`], [`COIL_OFF`], or another value where the device defines one.
    Write { coil: u16, value: u16 },
}

/// One request on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModbusCall {
    pub(super) request: ModbusRequest,
    pub(super) unit: u8,
    /// Its number: a Modbus TCP answer carries the number of its request, an RTU answer does not.
    pub(super) transaction: u16,
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModbusAnswer {
    /// The coils read, the first in the lowest bit.
    Coils(u8),
    /// The device confirmed the write.
    Written,
    /// The device refused with this exception code.
    Exception(u8),
}

impl ModbusRequest {
    /// The request that switches `coil` on or off.
    pub(super) fn switch(coil: u16, is_on: bool) -> Self {
        Self::Write { coil, value: if is_on { COIL_ON } else { COIL_OFF } }
    }

    /// The function code.
    pub(super) fn function(self) -> u8 {
        match self {
            Self::Read { .. } => READ_COILS,
            Self::Write { .. } => WRITE_COIL,
        }
    }

    /// Function and data, without framing.
    pub(super) fn encode(self) -> [u8; 5] {
        let (address, value) = match self {
            Self::Read { first, count } => (first, u16::from(count)),
            Self::Write { coil, value } => (coil, value),
        };
        let [[a0, a1], [v0, v1]] = [address, value].map(u16::to_be_bytes);
        [self.function(), a0, a1, v0, v1]
    }

    /// Parses function and data of an answer; `None` if it does not answer this request.
    pub(super) fn parse_answer(self, answer: &[u8]) -> Option<ModbusAnswer> {
        match (self, answer) {
            (_, [function, exception, ..]) if *function == self.function() | EXCEPTION_BIT => {
                Some(ModbusAnswer::Exception(*exception))
            }
            (Self::Read { .. }, [READ_COILS, 1, coils]) => Some(ModbusAnswer::Coils(*coils)),
            (Self::Write { .. }, answer) if *answer == self.encode() => Some(ModbusAnswer::Written),
            _ => None,
        }
    }
}

impl ModbusCall {
    /// The bytes to send.
    pub(super) fn encode(self) -> Vec<u8> {
        let [t0, t1] = self.transaction.to_be_bytes();
        [&[t0, t1, 0, 0, 0, 6, self.unit][..], &self.request.encode()].concat()
    }

    /// Parses the bytes received so far.
    pub(super) fn parse(self, bytes: &[u8]) -> ParsedAnswer<ModbusAnswer> {
        let is_rtu = matches!(bytes, [unit, function, ..]
            if *unit == self.unit && function & !EXCEPTION_BIT == self.request.function());
        let not_modbus = ParsedAnswer::Foreign(if is_rtu { RTU_HINT } else { "" });
        if bytes.get(2..4).is_some_and(|protocol| protocol != [0, 0]) {
            return not_modbus;
        }
        let Some([t0, t1, _, _, l0, l1]) = bytes.first_chunk::<PREFIX_BYTES>() else {
            return ParsedAnswer::Incomplete;
        };
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if !VALID_LENGTHS.contains(&length) {
            return not_modbus;
        }
        let end = PREFIX_BYTES + length;
        let Some([unit, answer @ ..]) = bytes.get(PREFIX_BYTES..end) else {
            return ParsedAnswer::Incomplete;
        };
        match u16::from_be_bytes([*t0, *t1]) {
            earlier if earlier < self.transaction => ParsedAnswer::Skip(end),
            present if present == self.transaction && *unit == self.unit => {
                self.request.parse_answer(answer).map_or(ParsedAnswer::Unexpected, ParsedAnswer::Answer)
            }
            _ => ParsedAnswer::Unexpected,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client::hex;

    const WRITE: ModbusCall =
        ModbusCall { request: ModbusRequest::Write { coil: 5, value: COIL_ON }, unit: 1, transaction: 3 };
    const READ: ModbusCall =
        ModbusCall { request: ModbusRequest::Read { first: 0, count: 8 }, unit: 1, transaction: 3 };

    #[test]
    fn requests_are_encoded_as_in_the_specification() {
        // Source: Modbus Application Protocol 1.1b3, 6.1 and 6.5.
        assert_eq!(WRITE.encode(), [0, 3, 0, 0, 0, 6, 1, 5, 0, 5, 0xff, 0]);
        assert_eq!(READ.encode(), [0, 3, 0, 0, 0, 6, 1, 1, 0, 0, 0, 8]);
    }

    #[test]
    fn only_the_matching_frame_is_accepted_as_the_answer() {
        let not_modbus = |is_rtu| ParsedAnswer::Foreign(if is_rtu { RTU_HINT } else { "" });
        for (call, bytes, expected) in [
            (
                WRITE,
                &[0, 3, 0, 0, 0, 6, 1, 5, 0, 5, 0xff, 0][..],
                ParsedAnswer::Answer(ModbusAnswer::Written),
            ),
            (READ, &[0, 3, 0, 0, 0, 4, 1, 1, 1, 0b10_0000], ParsedAnswer::Answer(ModbusAnswer::Coils(32))),
            (READ, &[0, 3, 0, 0, 0, 3, 1, 0x81, 3], ParsedAnswer::Answer(ModbusAnswer::Exception(3))),
            (WRITE, &[0, 3, 0, 0, 0, 6, 1, 5, 0, 4, 0xff, 0], ParsedAnswer::Unexpected),
            (WRITE, &[0, 3, 0, 0, 0, 6, 1, 5, 0, 5, 0, 0], ParsedAnswer::Unexpected),
            (WRITE, &[0, 3, 0, 0, 0, 6, 2, 5, 0, 5, 0xff, 0], ParsedAnswer::Unexpected),
            (WRITE, &[0, 4, 0, 0, 0, 6, 1, 5, 0, 5, 0xff, 0], ParsedAnswer::Unexpected),
            (WRITE, &[0, 3, 0, 0, 0, 3, 1, 0x81, 3], ParsedAnswer::Unexpected),
            (READ, &[0, 3, 0, 0, 0, 5, 1, 1, 2, 0, 0], ParsedAnswer::Unexpected),
            (WRITE, &[0, 2, 0, 0, 0, 6, 1, 5, 0, 5, 0, 0], ParsedAnswer::Skip(12)),
            (WRITE, &[0, 3, 0, 0, 0, 6, 1, 5, 0, 5, 0xff], ParsedAnswer::Incomplete),
            (WRITE, &[0xff; 3], ParsedAnswer::Incomplete),
            (WRITE, &[1, 5, 0, 5, 0xff, 0, 0x9c, 0x3b], not_modbus(true)),
            // At coil 0 the first four bytes could be those of Modbus TCP.
            (WRITE, &[1, 5, 0, 0, 0xff, 0, 0x8c, 0x3a], not_modbus(true)),
            (READ, &[1, 0x81, 3, 0, 0x51], not_modbus(true)),
            (WRITE, b"SSH-2.0-OpenSSH_9.2", not_modbus(false)),
            (WRITE, &[0, 3, 0, 0, 0xff, 0xff], not_modbus(false)),
            (WRITE, &[0, 3, 0, 0, 0, 2, 1, 5], not_modbus(false)),
        ] {
            assert_eq!(call.parse(bytes), expected, "{}", hex(bytes));
        }
    }

    proptest! {
        #[test]
        fn further_bytes_do_not_change_the_result_of_parsing(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), more in any::<u8>(), is_read in any::<bool>(),
        ) {
            let call = if is_read { READ } else { WRITE };
            let parsed = call.parse(&bytes);
            if parsed == ParsedAnswer::Incomplete {
                prop_assert!(bytes.len() < MAX_FRAME_BYTES);
            } else {
                prop_assert_eq!(call.parse(&[&bytes[..], &[more]].concat()), parsed);
            }
        }
    }
}

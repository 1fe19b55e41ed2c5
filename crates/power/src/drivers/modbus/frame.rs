//! Modbus TCP frames: the two requests for coils, and the parser of answers.
//!
//! Pure functions; no frame is longer than 260 bytes. An answer is accepted only if it matches the request. Frames of
//! other requests and bytes that are not Modbus TCP are distinguished.

/// The longest frame. Source: Modbus Messaging on TCP/IP Implementation Guide 1.0b, 4.2.
pub(super) const MAX_FRAME_BYTES: usize = 260;

/// Length of the prefix before the unit: transaction, protocol (0 for Modbus) and the number of bytes that follow.
const PREFIX_BYTES: usize = 6;
/// Number of bytes after the prefix: at least unit, function and one byte of data.
const VALID_LENGTHS: std::ops::RangeInclusive<usize> = 3..=MAX_FRAME_BYTES - PREFIX_BYTES;

const READ_COILS: u8 = 1;
const WRITE_COIL: u8 = 5;
/// Marks the function of an answer as an exception.
const EXCEPTION_BIT: u8 = 0x80;

/// A request to a relay board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModbusRequest {
    /// Reads `count` coils from `first` on, at most eight.
    Read { first: u16, count: u8 },
    /// Writes one coil.
    Write { coil: u16, on: bool },
}

/// One request on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModbusCall {
    pub(super) request: ModbusRequest,
    pub(super) unit: u8,
    /// Its number on this connection: an answer carries the number of its request.
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

/// The bytes received since a request was sent, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParsedFrame {
    /// Not a complete frame yet.
    Incomplete,
    /// The answer.
    Answer(ModbusAnswer),
    /// A late answer to an earlier request on this connection, with its length.
    Late(usize),
    /// A Modbus TCP frame that does not answer this request.
    Other,
    /// Not Modbus TCP.
    NotModbusTcp {
        /// Whether it begins like an RTU frame that answers this request.
        is_rtu: bool,
    },
}

impl ModbusCall {
    fn function(self) -> u8 {
        match self.request {
            ModbusRequest::Read { .. } => READ_COILS,
            ModbusRequest::Write { .. } => WRITE_COIL,
        }
    }

    /// The bytes to send.
    pub(super) fn encode(self) -> [u8; 12] {
        let (address, value) = match self.request {
            ModbusRequest::Read { first, count } => (first, u16::from(count)),
            ModbusRequest::Write { coil, on } => (coil, if on { 0xff00 } else { 0 }),
        };
        let [[t0, t1], [a0, a1], [v0, v1]] = [self.transaction, address, value].map(u16::to_be_bytes);
        [t0, t1, 0, 0, 0, 6, self.unit, self.function(), a0, a1, v0, v1]
    }

    /// Parses the bytes received so far.
    pub(super) fn parse(self, bytes: &[u8]) -> ParsedFrame {
        let not_modbus = ParsedFrame::NotModbusTcp {
            is_rtu: matches!(bytes, [unit, function, ..]
                if *unit == self.unit && function & !EXCEPTION_BIT == self.function()),
        };
        if bytes.get(2..4).is_some_and(|protocol| protocol != [0, 0]) {
            return not_modbus;
        }
        let Some([t0, t1, _, _, l0, l1]) = bytes.first_chunk::<PREFIX_BYTES>() else {
            return ParsedFrame::Incomplete;
        };
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if !VALID_LENGTHS.contains(&length) {
            return not_modbus;
        }
        let end = PREFIX_BYTES + length;
        let Some([unit, function, data @ ..]) = bytes.get(PREFIX_BYTES..end) else {
            return ParsedFrame::Incomplete;
        };
        match u16::from_be_bytes([*t0, *t1]) {
            earlier if earlier < self.transaction => return ParsedFrame::Late(end),
            present if present == self.transaction && *unit == self.unit => {}
            _ => return ParsedFrame::Other,
        }
        match (self.request, data) {
            (_, [exception, ..]) if *function == self.function() | EXCEPTION_BIT => {
                ParsedFrame::Answer(ModbusAnswer::Exception(*exception))
            }
            _ if *function != self.function() => ParsedFrame::Other,
            (ModbusRequest::Read { .. }, [1, coils]) => ParsedFrame::Answer(ModbusAnswer::Coils(*coils)),
            (ModbusRequest::Write { .. }, data) if *data == self.encode()[8..] => {
                ParsedFrame::Answer(ModbusAnswer::Written)
            }
            _ => ParsedFrame::Other,
        }
    }
}

/// Formats bytes in hexadecimal: `01 05 ff`.
pub(super) fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WRITE: ModbusCall =
        ModbusCall { request: ModbusRequest::Write { coil: 5, on: true }, unit: 1, transaction: 3 };
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
        let not_modbus = |is_rtu| ParsedFrame::NotModbusTcp { is_rtu };
        for (call, bytes, expected) in [
            (WRITE, &[0, 3, 0, 0, 0, 6, 1, 5, 0, 5, 0xff, 0][..], ParsedFrame::Answer(ModbusAnswer::Written)),
            (READ, &[0, 3, 0, 0, 0, 4, 1, 1, 1, 0b10_0000], ParsedFrame::Answer(ModbusAnswer::Coils(32))),
            (READ, &[0, 3, 0, 0, 0, 3, 1, 0x81, 3], ParsedFrame::Answer(ModbusAnswer::Exception(3))),
            (WRITE, &[0, 3, 0, 0, 0, 6, 1, 5, 0, 4, 0xff, 0], ParsedFrame::Other),
            (WRITE, &[0, 3, 0, 0, 0, 6, 1, 5, 0, 5, 0, 0], ParsedFrame::Other),
            (WRITE, &[0, 3, 0, 0, 0, 6, 2, 5, 0, 5, 0xff, 0], ParsedFrame::Other),
            (WRITE, &[0, 4, 0, 0, 0, 6, 1, 5, 0, 5, 0xff, 0], ParsedFrame::Other),
            (WRITE, &[0, 3, 0, 0, 0, 3, 1, 0x81, 3], ParsedFrame::Other),
            (READ, &[0, 3, 0, 0, 0, 5, 1, 1, 2, 0, 0], ParsedFrame::Other),
            (WRITE, &[0, 2, 0, 0, 0, 6, 1, 5, 0, 5, 0, 0], ParsedFrame::Late(12)),
            (WRITE, &[0, 3, 0, 0, 0, 6, 1, 5, 0, 5, 0xff], ParsedFrame::Incomplete),
            (WRITE, &[0xff; 3], ParsedFrame::Incomplete),
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
            if parsed == ParsedFrame::Incomplete {
                prop_assert!(bytes.len() < MAX_FRAME_BYTES);
            } else {
                prop_assert_eq!(call.parse(&[&bytes[..], &[more]].concat()), parsed);
            }
        }
    }
}

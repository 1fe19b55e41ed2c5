//! RTU frames over TCP, as serial servers and some relay boards pass them on.
//!
//! RTU frames have no transaction number. Frames of the unit that do not answer the present request are late answers to
//! earlier ones: a serial server passes them on to whichever client is connected. They are skipped. An answer to a read does not
//! name its coil: a late one is discarded if it arrived before the request, and counts as its answer if it arrives after it.

use crc::{CRC_16_MODBUS, Crc};

use super::frame::{EXCEPTION_BIT, ModbusAnswer, ModbusCall, READ_COILS, WRITE_COIL};
use crate::client::ParsedAnswer;

/// Source: Modbus over Serial Line 1.02, 2.5.1.2: CRC-16, low byte first.
const CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);
const CHECKSUM_BYTES: usize = 2;
/// Length of unit, function and exception code.
const EXCEPTION_BYTES: usize = 3;
/// Length of unit, function and the number of bytes that follow.
const READ_HEAD_BYTES: usize = 3;
/// Length of unit, function, address and value.
const WRITE_BYTES: usize = 6;
/// The longest data of an answer to a read. Source: Modbus Application Protocol 1.1b3, 6.1: 2000 coils.
const MAX_READ_BYTES: u8 = 250;

/// The bytes to send.
pub(super) fn encode(call: ModbusCall) -> Vec<u8> {
    let frame = [&[call.unit][..], &call.request.encode()].concat();
    let checksum = CHECKSUM.checksum(&frame).to_le_bytes();
    [&frame[..], &checksum].concat()
}

/// Parses the bytes received so far.
pub(super) fn parse(call: ModbusCall, bytes: &[u8]) -> ParsedAnswer<ModbusAnswer> {
    let length = match *bytes {
        [unit, ..] if unit != call.unit => return ParsedAnswer::Foreign(""),
        [] | [_] | [_, READ_COILS] => return ParsedAnswer::Incomplete,
        [_, READ_COILS, count, ..] if count <= MAX_READ_BYTES => READ_HEAD_BYTES + usize::from(count),
        [_, WRITE_COIL, ..] => WRITE_BYTES,
        [_, function, ..]
            if function == EXCEPTION_BIT | READ_COILS || function == EXCEPTION_BIT | WRITE_COIL =>
        {
            EXCEPTION_BYTES
        }
        _ => return ParsedAnswer::Foreign(""),
    };
    let end = length + CHECKSUM_BYTES;
    let (Some(frame), Some(checksum)) = (bytes.get(..length), bytes.get(length..end)) else {
        return ParsedAnswer::Incomplete;
    };
    if *checksum != CHECKSUM.checksum(frame).to_le_bytes() {
        return ParsedAnswer::Unexpected;
    }
    call.request.parse_answer(&frame[1..]).map_or(ParsedAnswer::Skip(end), ParsedAnswer::Answer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::{COIL_ON, ModbusRequest};
    use super::*;
    use crate::client::hex;

    const WRITE: ModbusCall =
        ModbusCall { request: ModbusRequest::Write { coil: 5, value: COIL_ON }, unit: 1, transaction: 3 };
    const READ: ModbusCall =
        ModbusCall { request: ModbusRequest::Read { first: 0, count: 8 }, unit: 1, transaction: 3 };

    fn checked(frame: &[u8]) -> Vec<u8> {
        [frame, &CHECKSUM.checksum(frame).to_le_bytes()].concat()
    }

    #[test]
    fn requests_end_with_their_checksum() {
        assert_eq!(encode(WRITE), [1, 5, 0, 5, 0xff, 0, 0x9c, 0x3b]);
        assert_eq!(encode(READ), [1, 1, 0, 0, 0, 8, 0x3d, 0xcc]);
    }

    #[test]
    fn only_the_matching_frame_is_accepted_as_the_answer() {
        let wrong_checksum = [1, 5, 0, 5, 0xff, 0, 0x9c, 0x3c];
        for (call, bytes, expected) in [
            (WRITE, encode(WRITE), ParsedAnswer::Answer(ModbusAnswer::Written)),
            (READ, checked(&[1, 1, 1, 0b10_0000]), ParsedAnswer::Answer(ModbusAnswer::Coils(32))),
            (READ, checked(&[1, 0x81, 3]), ParsedAnswer::Answer(ModbusAnswer::Exception(3))),
            (WRITE, checked(&[1, 0x85, 2]), ParsedAnswer::Answer(ModbusAnswer::Exception(2))),
            // Late answers to earlier requests.
            (READ, encode(WRITE), ParsedAnswer::Skip(8)),
            (WRITE, checked(&[1, 5, 0, 5, 0, 0]), ParsedAnswer::Skip(8)),
            (WRITE, checked(&[1, 1, 1, 0]), ParsedAnswer::Skip(6)),
            (READ, checked(&[1, 0x85, 6]), ParsedAnswer::Skip(5)),
            (WRITE, wrong_checksum.to_vec(), ParsedAnswer::Unexpected),
            (WRITE, wrong_checksum[..7].to_vec(), ParsedAnswer::Incomplete),
            (READ, vec![1, 1], ParsedAnswer::Incomplete),
            (READ, vec![1], ParsedAnswer::Incomplete),
            (READ, Vec::new(), ParsedAnswer::Incomplete),
            (WRITE, checked(&[2, 5, 0, 5, 0xff, 0]), ParsedAnswer::Foreign("")),
            (READ, vec![1, 1, 251], ParsedAnswer::Foreign("")),
            (WRITE, b"SSH-2.0-OpenSSH_9.2".to_vec(), ParsedAnswer::Foreign("")),
            (READ, vec![0, 0, 0, 0, 0, 4, 1, 1, 1, 0], ParsedAnswer::Foreign("")),
        ] {
            assert_eq!(parse(call, &bytes), expected, "{}", hex(&bytes));
        }
    }

    proptest! {
        #[test]
        fn further_bytes_do_not_change_the_result_of_parsing(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300), more in any::<u8>(), is_read in any::<bool>(),
        ) {
            if let [unit, ..] = &mut *bytes {
                *unit = 1;
            }
            let call = if is_read { READ } else { WRITE };
            let parsed = parse(call, &bytes);
            if parsed != ParsedAnswer::Incomplete {
                prop_assert_eq!(parse(call, &[&bytes[..], &[more]].concat()), parsed);
            }
        }
    }
}

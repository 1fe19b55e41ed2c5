//! Modbus as a relay board with eight channels speaks it. It reads only all coils together, and times cycles where it
//! is a Waveshare Modbus POE ETH Relay.

use std::time::Duration;

use crate::fake::{Decoded, RelayOrder};

/// Source: Modbus Application Protocol 1.1b3, 7.
const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;

/// Executes a request without its framing: function and data. Returns the order, and the answer without its framing.
pub(crate) fn execute(relays: [bool; 8], body: &[u8]) -> (Option<RelayOrder>, Vec<u8>) {
    let exception = |number| (None, vec![body[0] | 0x80, number]);
    let [function, a0, a1, v0, v1] = *body else { return exception(ILLEGAL_FUNCTION) };
    let (address, value) = (u16::from_be_bytes([a0, a1]), u16::from_be_bytes([v0, v1]));
    match (function, address, value) {
        (1, 0, 8) => {
            let coils = (0..8).fold(0, |byte, bit| byte | u8::from(relays[bit]) << bit);
            (None, vec![1, 1, coils])
        }
        (5, 0..8, 0 | 0xff00) => order(body, address, value != 0, None),
        (5, 0x0200..0x0208, 1..=0x7fff) => order(body, address - 0x0200, true, Some(value)),
        (5, 0x0400..0x0408, 1..=0x7fff) => order(body, address - 0x0400, false, Some(value)),
        (1, 0..8, _) | (5, 0..8 | 0x0200..0x0208 | 0x0400..0x0408, _) => exception(ILLEGAL_VALUE),
        (1 | 5, ..) => exception(ILLEGAL_ADDRESS),
        _ => exception(ILLEGAL_FUNCTION),
    }
}

fn order(body: &[u8], relay: u16, is_on: bool, ticks: Option<u16>) -> (Option<RelayOrder>, Vec<u8>) {
    let reverts_after = ticks.map(|ticks| Duration::from_millis(100) * ticks.into());
    (Some(RelayOrder { relay: relay.into(), is_on, reverts_after }), body.to_vec())
}

/// Decodes a request in a Modbus TCP frame.
pub(crate) fn decode_tcp(relays: [bool; 8], received: &[u8]) -> Decoded {
    let [t0, t1, 0, 0, l0, l1, ..] = *received else {
        return if received.len() < 6 { Decoded::Incomplete } else { Decoded::Hangup };
    };
    let length = 6 + usize::from(u16::from_be_bytes([l0, l1]));
    let Some([unit, body @ ..]) = received.get(6..length) else { return Decoded::Incomplete };
    let (order, body) = execute(relays, body);
    let [l0, l1] = u16::try_from(body.len() + 1).unwrap().to_be_bytes();
    let answer = [&[t0, t1, 0, 0, l0, l1, *unit], body.as_slice()].concat();
    Decoded::Request { length, order, answer }
}

/// Decodes a request in an RTU frame.
pub(crate) fn decode_rtu(relays: [bool; 8], received: &[u8]) -> Decoded {
    let Some(frame) = received.first_chunk::<8>() else { return Decoded::Incomplete };
    if crc(frame) != 0 {
        return Decoded::Hangup;
    }
    let (order, body) = execute(relays, &frame[1..6]);
    let mut answer = [&frame[..1], body.as_slice()].concat();
    answer.extend(crc(&answer).to_le_bytes());
    Decoded::Request { length: frame.len(), order, answer }
}

/// Source: Modbus over Serial Line 1.02, 6.2.2. With its checksum, a frame has the checksum 0.
fn crc(frame: &[u8]) -> u16 {
    let shift = |value: u16, _| if value & 1 == 1 { value >> 1 ^ 0xa001 } else { value >> 1 };
    frame.iter().fold(0xffff, |value, byte| (0..8).fold(value ^ u16::from(*byte), shift))
}

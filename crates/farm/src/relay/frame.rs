//! Frames of a simulated relay board: requests and answers, as Modbus TCP or RTU frames.
//!
//! The driver's frame code is not used on purpose: a mistake in it would be on both sides.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Source: Modbus Messaging on TCP/IP Implementation Guide 1.0b, 3.1.3: the length counts the unit and 253 bytes more.
const MAX_LENGTH_FIELD: u16 = 254;

/// A client's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RelayRequest {
    /// Function 1.
    ReadCoils { first: u16, count: u16 },
    /// Function 5.
    WriteCoil { coil: u16, on: bool },
    /// Function 5 with any other value.
    Flash { address: u16, tenths: u16 },
    /// Function 15.
    WriteCoils { first: u16, values: Vec<bool> },
    /// Anything else.
    Unknown,
}

/// The answer to an executed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RelayAnswer {
    /// The coils read.
    Coils(Vec<bool>),
    /// The beginning of the request.
    Echo,
}

/// Modbus exception. Source: Modbus Application Protocol 1.1b3, 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RelayException {
    Function = 1,
    DataAddress = 2,
    DataValue = 3,
}

/// One frame from a client.
pub(super) struct RelayFrame {
    transaction: u16,
    /// The addressed unit.
    pub(super) unit: u8,
    body: Vec<u8>,
}

impl RelayFrame {
    /// Reads the next frame; returns `None` if the client has closed the connection.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut head = [0; 7];
        match stream.read_exact(&mut head).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        };
        let [t0, t1, p0, p1, l0, l1, unit] = head;
        let length = u16::from_be_bytes([l0, l1]);
        if [p0, p1] != [0, 0] || !(2..=MAX_LENGTH_FIELD).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a Modbus TCP frame"));
        }
        let mut body = vec![0; usize::from(length) - 1];
        stream.read_exact(&mut body).await?;
        Ok(Some(Self { transaction: u16::from_be_bytes([t0, t1]), unit, body }))
    }

    /// Parses the request.
    pub(super) fn request(&self) -> RelayRequest {
        let number = |high: u8, low: u8| u16::from_be_bytes([high, low]);
        match self.body[..] {
            [1, a, b, c, d] => RelayRequest::ReadCoils { first: number(a, b), count: number(c, d) },
            [5, a, b, value @ (0 | 0xff), 0] => {
                RelayRequest::WriteCoil { coil: number(a, b), on: value == 0xff }
            }
            [5, a, b, c, d] => RelayRequest::Flash { address: number(a, b), tenths: number(c, d) },
            [15, a, b, c, d, bytes, ref values @ ..] if usize::from(bytes) == values.len() => {
                let count = usize::from(number(c, d));
                let bits = values.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
                RelayRequest::WriteCoils { first: number(a, b), values: bits.take(count).collect() }
            }
            _ => RelayRequest::Unknown,
        }
    }

    /// Encodes the answer as Modbus TCP.
    pub(super) fn answer(&self, answer: &Result<RelayAnswer, RelayException>) -> Vec<u8> {
        let body = self.body_of(answer);
        let length = u16::try_from(body.len() + 1).unwrap_or(u16::MAX);
        let mut frame = [self.transaction, 0, length].map(u16::to_be_bytes).concat();
        frame.push(self.unit);
        frame.extend(body);
        frame
    }

    /// Encodes the answer as an RTU frame, as sent by a misconfigured serial server.
    pub(super) fn rtu_answer(&self, answer: &Result<RelayAnswer, RelayException>) -> Vec<u8> {
        let mut frame = vec![self.unit];
        frame.extend(self.body_of(answer));
        let checksum = crc(&frame);
        frame.extend(checksum.to_le_bytes());
        frame
    }

    fn body_of(&self, answer: &Result<RelayAnswer, RelayException>) -> Vec<u8> {
        let function = self.body.first().copied().unwrap_or_default();
        match answer {
            Ok(RelayAnswer::Coils(coils)) => {
                let bits = |chunk: &[bool]| {
                    chunk.iter().enumerate().fold(0, |byte, (bit, on)| byte | u8::from(*on) << bit)
                };
                let bytes: Vec<u8> = coils.chunks(8).map(bits).collect();
                [vec![function, u8::try_from(bytes.len()).unwrap_or(u8::MAX)], bytes].concat()
            }
            Ok(RelayAnswer::Echo) => self.body.iter().take(5).copied().collect(),
            Err(exception) => vec![function | 0x80, *exception as u8],
        }
    }
}

/// Source: Modbus over Serial Line 1.02, 6.2.2.
fn crc(frame: &[u8]) -> u16 {
    frame.iter().fold(0xffff, |value, byte| {
        (0..8).fold(
            value ^ u16::from(*byte),
            |value, _| {
                if value & 1 == 1 { value >> 1 ^ 0xa001 } else { value >> 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rtu_answer_ends_with_its_checksum() {
        let frame = RelayFrame { transaction: 1, unit: 1, body: vec![5, 0, 5, 0xff, 0] };
        // A frame including its checksum has the checksum 0.
        let answer = frame.rtu_answer(&Ok(RelayAnswer::Echo));
        assert_eq!((&answer[..6], crc(&answer)), (&[1, 5, 0, 5, 0xff, 0][..], 0));
    }
}

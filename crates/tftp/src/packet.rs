//! Parser and encoder of TFTP packets.
//!
//! Pure: no sockets, no files. [`TftpPacket::parse`] handles untrusted input, so it never panics and never trusts a
//! length. `options.rs` interprets the options of a request.
//!
//! Source: RFC 1350 §5 (packets), RFC 2347 (options, OACK).

/// The largest request in bytes.
///
/// Source: RFC 2347, "Packet Formats".
pub const MAX_REQUEST_BYTES: usize = 512;

/// Length of the header of a DATA packet: operation and block number.
///
/// Source: RFC 1350 §5, figure 5-2.
pub const DATA_HEADER_BYTES: usize = 4;

const READ: u16 = 1;
const WRITE: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OPTIONS_ACK: u16 = 6;

/// An option's name and value, as in a packet.
///
/// Source: RFC 2347, "Packet Formats".
pub type OptionPair = (String, String);

/// TFTP error code.
///
/// Source: RFC 1350, appendix, "Error Codes"; RFC 2347 for 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TftpErrorCode(pub u16);

impl TftpErrorCode {
    /// Not defined; see the message.
    pub const OTHER: Self = Self(0);
    /// There is no such file.
    pub const NOT_FOUND: Self = Self(1);
    /// Access violation.
    pub const ACCESS: Self = Self(2);
    /// Illegal operation.
    pub const ILLEGAL: Self = Self(4);
    /// Option negotiation failed.
    pub const OPTIONS: Self = Self(8);
}

/// Encoding of a file's bytes in packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferMode {
    /// Unchanged.
    Octet,
    /// Text: a line ends with CR LF, and a bare CR is sent as CR NUL.
    Netascii,
    /// An unsupported mode: `mail`, or an unknown word.
    Other(String),
}

impl TransferMode {
    fn from_word(word: String) -> Self {
        if word.eq_ignore_ascii_case("octet") {
            Self::Octet
        } else if word.eq_ignore_ascii_case("netascii") {
            Self::Netascii
        } else {
            Self::Other(word)
        }
    }

    fn as_word(&self) -> &str {
        match self {
            Self::Octet => "octet",
            Self::Netascii => "netascii",
            Self::Other(word) => word,
        }
    }
}

/// A read or write request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TftpRequest {
    /// The requested file name: any bytes but NUL.
    pub file: Vec<u8>,
    /// The transfer mode.
    pub mode: TransferMode,
    /// The options, in the client's order.
    pub options: Vec<OptionPair>,
}

/// One packet.
///
/// Source: RFC 1350 §5; RFC 2347 for [`TftpPacket::OptionsAck`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TftpPacket<'a> {
    /// Read request (RRQ).
    Read(TftpRequest),
    /// Write request (WRQ).
    Write(TftpRequest),
    /// A block of the file.
    Data {
        /// Its number; counts from 1 and wraps.
        block: u16,
        /// Its bytes; fewer than the block size in the last one.
        payload: &'a [u8],
    },
    /// All blocks up to this one have arrived.
    Ack {
        /// The block's number.
        block: u16,
    },
    /// The transfer has failed.
    Error {
        /// The error code.
        code: TftpErrorCode,
        /// The message.
        message: String,
    },
    /// The options that the server accepted (OACK).
    OptionsAck(Vec<OptionPair>),
}

/// Why a datagram is not a TFTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedPacket {
    /// It ends within a field, or a text lacks its NUL.
    #[error("packet truncated")]
    Short,
    /// Its first two bytes are not an operation.
    #[error("unknown operation {0}")]
    Operation(u16),
    /// It is a request of more than [`MAX_REQUEST_BYTES`].
    #[error("request too long")]
    Long,
}

impl<'a> TftpPacket<'a> {
    /// Parses one datagram.
    ///
    /// # Errors
    ///
    /// [`MalformedPacket`] when it is not a TFTP packet; the caller drops it.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, MalformedPacket> {
        let (operation, rest) = number(datagram)?;
        match operation {
            READ | WRITE if datagram.len() > MAX_REQUEST_BYTES => Err(MalformedPacket::Long),
            READ => request(rest).map(Self::Read),
            WRITE => request(rest).map(Self::Write),
            DATA => number(rest).map(|(block, payload)| Self::Data { block, payload }),
            ACK => number(rest).map(|(block, _)| Self::Ack { block }),
            ERROR => {
                let (code, rest) = number(rest)?;
                // Some clients send no NUL here, or no message: the code is sufficient.
                let message = text(rest).map_or_else(|_| lossy(rest), |(message, _)| message);
                Ok(Self::Error { code: TftpErrorCode(code), message })
            }
            OPTIONS_ACK => Ok(Self::OptionsAck(pairs(rest))),
            other => Err(MalformedPacket::Operation(other)),
        }
    }

    /// Encodes the packet.
    ///
    /// A NUL within a text is not escaped and ends it early.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        match self {
            Self::Read(request) => write_request(&mut bytes, READ, request),
            Self::Write(request) => write_request(&mut bytes, WRITE, request),
            Self::Data { block, payload } => {
                write_data_header(&mut bytes, *block);
                bytes.extend_from_slice(payload);
            }
            Self::Ack { block } => {
                bytes.extend_from_slice(&ACK.to_be_bytes());
                bytes.extend_from_slice(&block.to_be_bytes());
            }
            Self::Error { code, message } => {
                bytes.extend_from_slice(&ERROR.to_be_bytes());
                bytes.extend_from_slice(&code.0.to_be_bytes());
                write_text(&mut bytes, message);
            }
            Self::OptionsAck(options) => {
                bytes.extend_from_slice(&OPTIONS_ACK.to_be_bytes());
                write_pairs(&mut bytes, options);
            }
        }
        bytes
    }
}

/// Appends the header of a DATA packet to `bytes`; the payload follows it.
pub(super) fn write_data_header(bytes: &mut Vec<u8>, block: u16) {
    bytes.extend_from_slice(&DATA.to_be_bytes());
    bytes.extend_from_slice(&block.to_be_bytes());
}

fn write_request(bytes: &mut Vec<u8>, operation: u16, request: &TftpRequest) {
    bytes.extend_from_slice(&operation.to_be_bytes());
    bytes.extend_from_slice(&request.file);
    bytes.push(0);
    write_text(bytes, request.mode.as_word());
    write_pairs(bytes, &request.options);
}

fn write_pairs(bytes: &mut Vec<u8>, pairs: &[OptionPair]) {
    for (name, value) in pairs {
        write_text(bytes, name);
        write_text(bytes, value);
    }
}

fn write_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

fn number(bytes: &[u8]) -> Result<(u16, &[u8]), MalformedPacket> {
    let (number, rest) = bytes.split_first_chunk().ok_or(MalformedPacket::Short)?;
    Ok((u16::from_be_bytes(*number), rest))
}

fn text(bytes: &[u8]) -> Result<(String, &[u8]), MalformedPacket> {
    terminated(bytes).map(|(text, rest)| (lossy(text), rest))
}

/// Splits at the first NUL.
fn terminated(bytes: &[u8]) -> Result<(&[u8], &[u8]), MalformedPacket> {
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(MalformedPacket::Short)?;
    let (text, rest) = bytes.split_at(end);
    Ok((text, rest.get(1..).unwrap_or_default()))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn request(bytes: &[u8]) -> Result<TftpRequest, MalformedPacket> {
    let (file, rest) = terminated(bytes)?;
    let (mode, rest) = text(rest)?;
    Ok(TftpRequest { file: file.to_owned(), mode: TransferMode::from_word(mode), options: pairs(rest) })
}

/// Parses pairs up to the first truncated one: some boot loaders pad their requests.
fn pairs(mut bytes: &[u8]) -> Vec<OptionPair> {
    let mut pairs = Vec::new();
    while let Ok((name, rest)) = text(bytes) {
        let Ok((value, rest)) = text(rest) else { break };
        bytes = rest;
        if !name.is_empty() {
            pairs.push((name, value));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn a_request() -> impl Strategy<Value = TftpRequest> {
        let mode = prop_oneof![
            Just(TransferMode::Octet),
            Just(TransferMode::Netascii),
            Just(TransferMode::Other("mail".into()))
        ];
        let options = proptest::collection::vec(("[^\\x00]{1,6}", "[^\\x00]{0,6}"), 0..6);
        let file = proptest::collection::vec(1_u8.., 1..20);
        (file, mode, options).prop_map(|(file, mode, options)| TftpRequest { file, mode, options })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_bytes_are_parsed_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = TftpPacket::parse(&bytes);
        }

        #[test]
        fn any_bytes_after_any_operation_are_parsed_without_a_panic(
            operation in 0_u16..9, bytes in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..600),
        ) {
            let datagram = [&operation.to_be_bytes()[..], &bytes].concat();
            if let Ok(packet) = TftpPacket::parse(&datagram) {
                let again = packet.to_bytes();
                prop_assert!(again.len() > MAX_REQUEST_BYTES || TftpPacket::parse(&again) == Ok(packet));
            }
        }

        #[test]
        fn an_encoded_request_is_parsed_back(request in a_request()) {
            let packet = TftpPacket::Read(request.clone());
            let bytes = packet.to_bytes();
            prop_assert_eq!(TftpPacket::parse(&bytes), Ok(packet));
            let packet = TftpPacket::Write(request);
            let bytes = packet.to_bytes();
            prop_assert_eq!(TftpPacket::parse(&bytes), Ok(packet));
        }

        #[test]
        fn encoded_data_is_parsed_back(block: u16, payload in proptest::collection::vec(any::<u8>(), 0..600)) {
            let packet = TftpPacket::Data { block, payload: &payload };
            let bytes = packet.to_bytes();
            prop_assert_eq!(TftpPacket::parse(&bytes), Ok(packet));
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_encoded_exactly() {
        let request = TftpRequest {
            file: b"foobar".to_vec(),
            mode: TransferMode::Octet,
            options: vec![("blksize".into(), "1432".into())],
        };
        assert_eq!(TftpPacket::Read(request).to_bytes(), b"\0\x01foobar\0octet\0blksize\x001432\0");
        assert_eq!(TftpPacket::Ack { block: 258 }.to_bytes(), [0, 4, 1, 2]);
    }

    #[test]
    fn a_truncated_or_too_long_request_is_malformed() {
        for datagram in
            [&b""[..], b"\0", b"\0\x01", b"\0\x01name", b"\0\x01name\0", b"\0\x01name\0octet", b"\0\x04\0"]
        {
            assert_eq!(TftpPacket::parse(datagram), Err(MalformedPacket::Short), "{datagram:?}");
        }
        let of_length = |length: usize| [&b"\0\x01"[..], &vec![b'a'; length - 9], b"\0octet\0"].concat();
        assert!(TftpPacket::parse(&of_length(512)).is_ok());
        assert_eq!(TftpPacket::parse(&of_length(513)), Err(MalformedPacket::Long));
        assert_eq!(TftpPacket::parse(b"\0\x07x"), Err(MalformedPacket::Operation(7)));
    }

    #[test]
    fn modes_are_case_insensitive() {
        let Ok(TftpPacket::Read(request)) = TftpPacket::parse(b"\0\x01n\0OcTeT\0") else {
            panic!("no request")
        };
        assert_eq!(request.mode, TransferMode::Octet);
        let Ok(TftpPacket::Read(request)) = TftpPacket::parse(b"\0\x01n\0NetASCII\0") else {
            panic!("no request")
        };
        assert_eq!(request.mode, TransferMode::Netascii);
    }

    #[test]
    fn an_error_without_its_nul_is_accepted() {
        let code = TftpErrorCode(8);
        assert_eq!(
            TftpPacket::parse(b"\0\x05\0\x08no"),
            Ok(TftpPacket::Error { code, message: "no".into() })
        );
        assert_eq!(
            TftpPacket::parse(b"\0\x05\0\x08"),
            Ok(TftpPacket::Error { code, message: String::new() })
        );
    }
}

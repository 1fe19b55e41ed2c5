//! A small TFTP client like a boot loader's, for simulated boards and tests.
//!
//! It keeps the file in memory and can stop in the middle, like a board that hangs. Its timeouts use real time, like
//! those of a network card.
//!
//! Source: RFC 1350, RFC 2347, RFC 2348, RFC 2349, RFC 7440.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::options::{BLOCK_BYTES_RANGE, DEFAULT_BLOCK_BYTES, decimal};
use super::packet::{OptionPair, TftpErrorCode, TftpPacket, TftpRequest, TransferMode};

/// Parameters of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferOptions {
    /// The `blksize` to request, if any, in bytes.
    pub block_bytes: Option<u16>,
    /// The `windowsize` to request, if any, in blocks.
    pub window_blocks: Option<u16>,
    /// Whether to request the file's size before its content.
    pub size_probe: SizeProbe,
    /// How long to wait for the server before retransmitting.
    pub answer_timeout: Duration,
    /// Number of retransmissions before giving up.
    pub retries: u32,
    /// After how many blocks to stop answering, like a board that hangs; 0 is after the request.
    pub stop_after_blocks: Option<u64>,
}

/// Whether a client requests a file's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeProbe {
    /// The size is not requested.
    No,
    /// The size is requested with `tsize` and compared with the received file.
    Tsize,
}

impl Default for TransferOptions {
    /// The usual request of PXE boot loaders: 1428 bytes per block, which fit into one Ethernet frame, and the size.
    fn default() -> Self {
        Self {
            block_bytes: Some(1428),
            window_blocks: None,
            size_probe: SizeProbe::Tsize,
            answer_timeout: Duration::from_secs(1),
            retries: 5,
            stop_after_blocks: None,
        }
    }
}

/// Error of a fetch.
#[derive(Debug, thiserror::Error)]
pub enum TftpClientError {
    /// Local network failure.
    #[error("network failure")]
    Socket(#[source] io::Error),
    /// The server refused.
    #[error("the server refused with error {}: {message}", code.0)]
    Refused {
        /// The error code.
        code: TftpErrorCode,
        /// The message.
        message: String,
    },
    /// The server did not answer, or stopped answering.
    #[error("no answer from the server after {blocks} blocks")]
    Silent {
        /// The number of blocks received.
        blocks: u64,
    },
    /// The client stopped as requested by [`TransferOptions::stop_after_blocks`].
    #[error("stopped after {blocks} blocks, as requested")]
    StoppedEarly {
        /// The number of blocks received.
        blocks: u64,
    },
    /// The server violated the protocol.
    #[error("protocol error of the server: {0}")]
    Protocol(&'static str),
}

/// Fetches `file` from `server`, using the local address `from`.
///
/// # Errors
///
/// [`TftpClientError`]; the data received is dropped.
pub async fn fetch(
    server: SocketAddr,
    from: IpAddr,
    file: &str,
    options: &TransferOptions,
) -> Result<Vec<u8>, TftpClientError> {
    let socket = UdpSocket::bind((from, 0)).await.map_err(TftpClientError::Socket)?;
    let request = TftpRequest {
        file: file.as_bytes().to_owned(),
        mode: TransferMode::Octet,
        options: requested_options(options),
    };
    let mut session = ClientTransfer {
        socket,
        server,
        transfer_addr: None,
        options,
        block_bytes: DEFAULT_BLOCK_BYTES,
        window_blocks: 1,
        size_bytes: None,
        blocks: 0,
        unacked_blocks: 0,
        is_gap_reported: false,
        last_packet: TftpPacket::Read(request).to_bytes(),
        content: Vec::new(),
    };
    session.run().await?;
    Ok(session.content)
}

fn requested_options(options: &TransferOptions) -> Vec<OptionPair> {
    let block = options.block_bytes.map(|bytes| ("blksize".to_owned(), bytes.to_string()));
    let size = (options.size_probe == SizeProbe::Tsize).then(|| ("tsize".to_owned(), "0".to_owned()));
    let window = options.window_blocks.map(|blocks| ("windowsize".to_owned(), blocks.to_string()));
    [block, size, window].into_iter().flatten().collect()
}

/// State of one fetch.
struct ClientTransfer<'a> {
    socket: UdpSocket,
    server: SocketAddr,
    /// The port that the server chose for this transfer, once it has answered.
    transfer_addr: Option<SocketAddr>,
    options: &'a TransferOptions,
    block_bytes: usize,
    window_blocks: u64,
    size_bytes: Option<u64>,
    /// Number of blocks received in order.
    blocks: u64,
    /// Number of those without an ACK yet.
    unacked_blocks: u64,
    /// Whether the gap shown by later blocks was reported to the server.
    is_gap_reported: bool,
    /// The packet to retransmit if no answer comes.
    last_packet: Vec<u8>,
    content: Vec<u8>,
}

impl ClientTransfer<'_> {
    async fn run(&mut self) -> Result<(), TftpClientError> {
        self.send_last_packet().await?;
        let mut tries = 0;
        let mut buffer = vec![0; 65_536];
        loop {
            if self.options.stop_after_blocks.is_some_and(|limit| self.blocks >= limit) {
                return Err(TftpClientError::StoppedEarly { blocks: self.blocks });
            }
            let Some(length) = self.receive(&mut buffer).await? else {
                if tries >= self.options.retries {
                    return Err(TftpClientError::Silent { blocks: self.blocks });
                }
                tries += 1;
                self.send_last_packet().await?;
                continue;
            };
            match TftpPacket::parse(buffer.get(..length).unwrap_or_default()) {
                Ok(TftpPacket::Data { block, payload }) => {
                    let before = self.blocks;
                    if self.take_block(block, payload).await? {
                        return self.check_size();
                    }
                    tries = if self.blocks > before { 0 } else { tries };
                }
                Ok(TftpPacket::OptionsAck(answer)) if self.blocks == 0 => {
                    self.apply_options_ack(&answer).await?;
                    self.acknowledge().await?;
                }
                Ok(TftpPacket::Error { code, message }) => {
                    return Err(TftpClientError::Refused { code, message });
                }
                Ok(
                    TftpPacket::Read(_)
                    | TftpPacket::Write(_)
                    | TftpPacket::Ack { .. }
                    | TftpPacket::OptionsAck(_),
                )
                | Err(_) => {}
            }
        }
    }

    /// Processes a received block; returns `true` for the last one.
    async fn take_block(&mut self, block: u16, payload: &[u8]) -> Result<bool, TftpClientError> {
        if payload.len() > self.block_bytes {
            return Err(self.send_error("block larger than negotiated").await);
        }
        let ahead = block.wrapping_sub(wire_block_number(self.blocks));
        if ahead == 1 {
            self.blocks += 1;
            self.unacked_blocks += 1;
            self.is_gap_reported = false;
            self.content.extend_from_slice(payload);
            let is_last = payload.len() < self.block_bytes;
            if is_last || self.unacked_blocks >= self.window_blocks {
                self.acknowledge().await?;
            }
            return Ok(is_last);
        }
        // An earlier block means that our ACK was lost. A later block means that one was lost; it is reported once.
        let is_beyond = (2..=self.window_blocks).contains(&u64::from(ahead));
        if (ahead == 0 && self.blocks > 0) || (is_beyond && !self.is_gap_reported) {
            self.is_gap_reported = is_beyond;
            self.acknowledge().await?;
        }
        Ok(false)
    }

    /// Applies the options that the server accepted.
    async fn apply_options_ack(&mut self, answer: &[OptionPair]) -> Result<(), TftpClientError> {
        for (name, value) in answer {
            let number = decimal(value);
            let at_most = |requested: Option<u16>, min: u64| {
                number.filter(|number| (min..=requested.map_or(0, u64::from)).contains(number))
            };
            let is_taken = match name.to_ascii_lowercase().as_str() {
                "blksize" => at_most(self.options.block_bytes, *BLOCK_BYTES_RANGE.start())
                    .and_then(|bytes| usize::try_from(bytes).ok())
                    .map(|bytes| self.block_bytes = bytes)
                    .is_some(),
                "windowsize" => {
                    at_most(self.options.window_blocks, 1).map(|blocks| self.window_blocks = blocks).is_some()
                }
                "tsize" => {
                    self.size_bytes = number;
                    number.is_some() && self.options.size_probe == SizeProbe::Tsize
                }
                _ => false,
            };
            if !is_taken {
                return Err(self.send_error("answer to an option that was not requested").await);
            }
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), TftpClientError> {
        if self.size_bytes.is_some_and(|size| size != self.content.len() as u64) {
            return Err(TftpClientError::Protocol("file size differs from tsize"));
        }
        Ok(())
    }

    async fn acknowledge(&mut self) -> Result<(), TftpClientError> {
        self.unacked_blocks = 0;
        self.last_packet = TftpPacket::Ack { block: wire_block_number(self.blocks) }.to_bytes();
        self.send_last_packet().await
    }

    /// Reports a protocol error to the server.
    async fn send_error(&mut self, reason: &'static str) -> TftpClientError {
        self.last_packet =
            TftpPacket::Error { code: TftpErrorCode::OPTIONS, message: reason.to_owned() }.to_bytes();
        self.send_last_packet().await.err().unwrap_or(TftpClientError::Protocol(reason))
    }

    async fn send_last_packet(&self) -> Result<(), TftpClientError> {
        let to = self.transfer_addr.unwrap_or(self.server);
        self.socket.send_to(&self.last_packet, to).await.map(drop).map_err(TftpClientError::Socket)
    }

    /// Waits for a packet from the server; returns `None` on timeout.
    async fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, TftpClientError> {
        let deadline = Instant::now() + self.options.answer_timeout;
        loop {
            // Real time; see the module's documentation.
            let Ok(received) = tokio::time::timeout_at(deadline, self.socket.recv_from(buffer)).await else {
                return Ok(None);
            };
            let (length, from) = received.map_err(TftpClientError::Socket)?;
            if self.transfer_addr.map_or(from.ip() == self.server.ip(), |addr| addr == from) {
                self.transfer_addr = Some(from);
                return Ok(Some(length));
            }
        }
    }
}

/// The block number in packets; it wraps from 65,535 to 0.
#[expect(clippy::cast_possible_truncation, reason = "wraps intentionally")]
fn wire_block_number(block: u64) -> u16 {
    block as u16
}

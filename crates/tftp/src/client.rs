//! A small TFTP client, as a board's boot loader has one: for simulated boards and for tests.
//!
//! It keeps the file in memory and can stop in the middle, as a board does that hangs. Its waits are real time, like
//! those of the network card that it plays.
//!
//! Source: RFC 1350, RFC 2347, RFC 2348, RFC 2349, RFC 7440.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::options::{BLOCK_BYTES_RANGE, DEFAULT_BLOCK_BYTES, decimal};
use super::packet::{OptionPair, TftpErrorCode, TftpPacket, TftpRequest, TransferMode};

/// How to ask for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferOptions {
    /// The `blksize` to ask for, if any, in bytes.
    pub block_bytes: Option<u16>,
    /// The `windowsize` to ask for, if any, in blocks.
    pub window_blocks: Option<u16>,
    /// Whether to ask for the file's size before its content.
    pub size_probe: SizeProbe,
    /// How long to wait for the server before asking again.
    pub answer_timeout: Duration,
    /// How often to ask again before giving up.
    pub retries: u32,
    /// After how many blocks to fall silent without a word, as a board does that hangs; 0 is after the request.
    pub stop_after_blocks: Option<u64>,
}

/// Whether a client asks for a file's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeProbe {
    /// It does not.
    No,
    /// It asks with `tsize`, and checks it against what it gets.
    Tsize,
}

impl Default for TransferOptions {
    /// What PXE boot loaders ask for: 1428 bytes a block, which fit into one Ethernet frame, and the size.
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

/// Says why a client has no file.
#[derive(Debug, thiserror::Error)]
pub enum TftpClientError {
    /// The machine's network failed.
    #[error("the network failed")]
    Socket(#[source] io::Error),
    /// The server said no.
    #[error("the server refused with error {}: {message}", code.0)]
    Refused {
        /// The reason for programs.
        code: TftpErrorCode,
        /// The reason for people.
        message: String,
    },
    /// The server did not answer, or stopped answering.
    #[error("the server is silent after {blocks} blocks")]
    Silent {
        /// What had arrived by then.
        blocks: u64,
    },
    /// The client stopped because [`TransferOptions::stop_after_blocks`] said so.
    #[error("abandoned after {blocks} blocks, as asked")]
    StoppedEarly {
        /// What had arrived by then.
        blocks: u64,
    },
    /// The server answered what no server may.
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
}

/// Fetches `file` from `server`, asking from the local address `from`.
///
/// # Errors
///
/// [`TftpClientError`]; what had arrived is dropped.
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

/// One fetch while it lasts.
struct ClientTransfer<'a> {
    socket: UdpSocket,
    server: SocketAddr,
    /// The port that the server chose for this transfer, once it has answered.
    transfer_addr: Option<SocketAddr>,
    options: &'a TransferOptions,
    block_bytes: usize,
    window_blocks: u64,
    size_bytes: Option<u64>,
    /// The blocks that have arrived in order.
    blocks: u64,
    /// Those of them that no ACK has been sent for.
    unacked_blocks: u64,
    /// Whether the server was told of the gap that later blocks show.
    is_gap_reported: bool,
    /// What is said again when nothing comes.
    last_packet: Vec<u8>,
    content: Vec<u8>,
}

impl ClientTransfer<'_> {
    async fn run(&mut self) -> Result<(), TftpClientError> {
        self.send_last_packet().await?;
        let mut tries = 0;
        let mut room = vec![0; 65_536];
        loop {
            if self.options.stop_after_blocks.is_some_and(|limit| self.blocks >= limit) {
                return Err(TftpClientError::StoppedEarly { blocks: self.blocks });
            }
            let Some(length) = self.receive(&mut room).await? else {
                if tries >= self.options.retries {
                    return Err(TftpClientError::Silent { blocks: self.blocks });
                }
                tries += 1;
                self.send_last_packet().await?;
                continue;
            };
            match TftpPacket::parse(room.get(..length).unwrap_or_default()) {
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

    /// Takes a block that arrived; `true` when it was the last one.
    async fn take_block(&mut self, block: u16, payload: &[u8]) -> Result<bool, TftpClientError> {
        if payload.len() > self.block_bytes {
            return Err(self.send_error("a block is larger than agreed").await);
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
        // Block before: our ACK was lost. Block further on: one was lost on the way here; one word about it is enough.
        let is_beyond = (2..=self.window_blocks).contains(&u64::from(ahead));
        if (ahead == 0 && self.blocks > 0) || (is_beyond && !self.is_gap_reported) {
            self.is_gap_reported = is_beyond;
            self.acknowledge().await?;
        }
        Ok(false)
    }

    /// Takes over what the server made of our options.
    async fn apply_options_ack(&mut self, answer: &[OptionPair]) -> Result<(), TftpClientError> {
        for (name, value) in answer {
            let number = decimal(value);
            let at_most = |asked: Option<u16>, least: u64| {
                number.filter(|number| (least..=asked.map_or(0, u64::from)).contains(number))
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
                return Err(self.send_error("an option was answered that was not asked for").await);
            }
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), TftpClientError> {
        if self.size_bytes.is_some_and(|size| size != self.content.len() as u64) {
            return Err(TftpClientError::Protocol("the file has another size than was told"));
        }
        Ok(())
    }

    async fn acknowledge(&mut self) -> Result<(), TftpClientError> {
        self.unacked_blocks = 0;
        self.last_packet = TftpPacket::Ack { block: wire_block_number(self.blocks) }.to_bytes();
        self.send_last_packet().await
    }

    /// Tells the server that its answer makes no sense.
    async fn send_error(&mut self, why: &'static str) -> TftpClientError {
        self.last_packet =
            TftpPacket::Error { code: TftpErrorCode::OPTIONS, message: why.to_owned() }.to_bytes();
        self.send_last_packet().await.err().unwrap_or(TftpClientError::Protocol(why))
    }

    async fn send_last_packet(&self) -> Result<(), TftpClientError> {
        let to = self.transfer_addr.unwrap_or(self.server);
        self.socket.send_to(&self.last_packet, to).await.map(drop).map_err(TftpClientError::Socket)
    }

    /// Waits for a packet from the server; `None` when none came in time.
    async fn receive(&mut self, room: &mut [u8]) -> Result<Option<usize>, TftpClientError> {
        let until = Instant::now() + self.options.answer_timeout;
        loop {
            // Real time, as the module says.
            let Ok(received) = tokio::time::timeout_at(until, self.socket.recv_from(room)).await else {
                return Ok(None);
            };
            let (length, from) = received.map_err(TftpClientError::Socket)?;
            if self.transfer_addr.map_or(from.ip() == self.server.ip(), |answers| answers == from) {
                self.transfer_addr = Some(from);
                return Ok(Some(length));
            }
        }
    }
}

/// The number of a block as it stands in packets: after 65,535 comes 0.
#[expect(clippy::cast_possible_truncation, reason = "the wrap is meant")]
fn wire_block_number(block: u64) -> u16 {
    block as u16
}

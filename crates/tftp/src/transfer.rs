//! One transfer: one file to one client, over a channel of its own.
//!
//! ```text
//! open ─► OACK ─► window ─► window … ─► last block acknowledged
//!   │       │        │ ▲
//!   │       │        └─┘ a gap, or a timeout: from the first missing block
//!   ▼       ▼ timeout, ERROR, the file cannot be read
//!  ERROR   end
//! ```
//!
//! A repeated ACK does not cause a retransmission: two machines that answer each repetition with a repetition never
//! stop (the Sorcerer's Apprentice). With a window above 1, a repeated ACK can also mean that the window's first block
//! was lost; this is accepted once per window.
//!
//! Source: RFC 1350 §2, §6; RFC 1123 §4.2.3.1 (Sorcerer's Apprentice) and §4.2.3.2 (backing off); RFC 7440 §4 (windows).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::TftpLimits;
use super::block_reader::{BlockReader, BlockStart};
use super::channel::ClientChannel;
use super::client_reply::{ClientReply, RetransmitTimer, receive_reply, send_error, send_packet};
use super::limits::MIN_BYTES_PER_SECOND;
use super::observer::{ClientAbort, TftpRefusal, TransferDropReason, TransferEnd};
use super::options::{NegotiatedOptions, negotiate};
use super::packet::{
    DATA_HEADER_BYTES, TftpErrorCode, TftpPacket, TftpRequest, TransferMode, write_data_header,
};
use boot_tree::{BootTree, BootTreeError};

/// State of a running transfer, shared with the server.
#[derive(Debug, Default)]
pub(super) struct TransferProgress {
    bytes_acked: AtomicU64,
    is_answered: AtomicBool,
    is_replaceable: AtomicBool,
    request_repeated: Notify,
    cancel_reason: OnceLock<CancelReason>,
    cancel_token: CancellationToken,
}

/// Why the server cancels a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CancelReason {
    /// The client sent a new request from the same port.
    NewRequest,
    /// It is unanswered, and another client needs the capacity.
    Overload,
}

impl TransferProgress {
    /// Payload bytes that the client has acknowledged.
    pub(super) fn bytes_acked(&self) -> u64 {
        self.bytes_acked.load(Ordering::Relaxed)
    }

    /// Whether the same request counts as a new one instead of a repetition: the transfer is over, or it had started
    /// and its client has been silent since, like a board after a reset.
    pub(super) fn is_replaceable(&self) -> bool {
        self.is_replaceable.load(Ordering::Relaxed)
    }

    /// Whether the client has ever answered.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Relaxed)
    }

    /// Records that the client has repeated its request.
    pub(super) fn record_repeated_request(&self) {
        self.request_repeated.notify_one();
    }

    /// Cancels the transfer.
    pub(super) fn cancel(&self, reason: CancelReason) {
        // The first reason counts.
        self.cancel_reason.set(reason).ok();
        self.cancel_token.cancel();
    }

    /// Waits until the transfer is cancelled; returns how it ended.
    pub(super) async fn cancelled(&self) -> TransferEnd {
        self.cancel_token.cancelled().await;
        let bytes_acked = self.bytes_acked();
        match self.cancel_reason.get() {
            Some(CancelReason::Overload) => {
                TransferEnd::Dropped { bytes_acked, why: TransferDropReason::Overload }
            }
            Some(CancelReason::NewRequest) | None => {
                TransferEnd::Aborted { bytes_acked, by: ClientAbort::NewRequest }
            }
        }
    }

    /// Records that the transfer is over.
    pub(super) fn finish(&self) {
        self.is_replaceable.store(true, Ordering::Relaxed);
    }
}

/// Inputs of a transfer.
#[derive(Debug)]
pub(super) struct Transfer {
    /// The boot tree.
    pub tree: Arc<BootTree>,
    /// The client's request.
    pub request: TftpRequest,
    /// Limits and timeouts.
    pub limits: TftpLimits,
    /// State shared with the server.
    pub progress: Arc<TransferProgress>,
    /// The largest window in blocks, regardless of the client's request.
    pub max_window_blocks: u64,
}

impl Transfer {
    /// Sends the file over `channel`.
    pub(super) async fn run(self, channel: &mut ClientChannel) -> TransferEnd {
        let started_at = Instant::now();
        let (limits, progress) = (self.limits, Arc::clone(&self.progress));
        tokio::select! {
            end = self.serve(channel, started_at) => end,
            reason = wait_until_overdue(&limits, &progress, started_at) => {
                TransferEnd::Dropped { bytes_acked: progress.bytes_acked(), why: reason }
            }
        }
    }

    async fn serve(self, channel: &mut ClientChannel, started_at: Instant) -> TransferEnd {
        let reader = match self.open().await {
            Ok(reader) => reader,
            Err(FileOpenFailure::Refused(code, message, end)) => {
                // After the ERROR, its client may send another request.
                self.progress.finish();
                send_error(channel, code, &message).await;
                return end;
            }
            Err(FileOpenFailure::ServerError(end)) => return end,
        };
        let negotiated = negotiate(&self.request.options, reader.size_bytes(), self.max_window_blocks);
        let mut active = ActiveTransfer {
            timer: RetransmitTimer::new(self.limits, negotiated.timeout),
            first_wait: self.limits.first_retransmit_after,
            channel,
            progress: &self.progress,
            reader,
            options: negotiated,
            acked_blocks: 0,
            window_start: BlockStart::default(),
            block_ends: Vec::new(),
            last_block_bytes: None,
            is_gap_answered: false,
        };
        match active.run().await {
            Ok(()) => TransferEnd::Sent { bytes: self.progress.bytes_acked(), took: started_at.elapsed() },
            Err(end) => {
                if matches!(end, TransferEnd::ServerError { .. }) {
                    send_error(active.channel, TftpErrorCode::OTHER, "the file cannot be read").await;
                }
                end
            }
        }
    }

    async fn open(&self) -> Result<BlockReader, FileOpenFailure> {
        let refused = |refusal: TftpRefusal| {
            FileOpenFailure::Refused(refusal.code(), refusal.to_string(), TransferEnd::Refused(refusal))
        };
        if matches!(self.request.mode, TransferMode::Other(_)) {
            return Err(refused(TftpRefusal::Mode));
        }
        let (tree, file) = (Arc::clone(&self.tree), self.request.file.clone());
        let opened = boot_tree::run_blocking(move || tree.open(&file)).await;
        match opened.map_err(BootTreeError::Io).flatten() {
            Ok(opened) => Ok(BlockReader::new(opened.file, opened.length, &self.request.mode)),
            Err(BootTreeError::NotFound | BootTreeError::NotAFolder) => Err(FileOpenFailure::Refused(
                TftpErrorCode::NOT_FOUND,
                "no such file".to_owned(),
                TransferEnd::NotFound,
            )),
            Err(BootTreeError::OutsideTree) => Err(refused(TftpRefusal::Outside)),
            Err(BootTreeError::Loop) => Err(refused(TftpRefusal::Loop)),
            Err(BootTreeError::NotAFile) => Err(refused(TftpRefusal::NotAFile)),
            Err(BootTreeError::Unreadable) => Err(refused(TftpRefusal::Unreadable)),
            Err(BootTreeError::RootUnreadable(error)) => {
                Err(FileOpenFailure::ServerError(server_error_end("the boot root cannot be read", &error)))
            }
            Err(BootTreeError::Io(error)) => {
                Err(FileOpenFailure::ServerError(server_error_end("cannot open the file", &error)))
            }
        }
    }
}

/// Waits until a transfer exceeds its maximum time, or the time allowed for the bytes acknowledged.
async fn wait_until_overdue(
    limits: &TftpLimits,
    progress: &TransferProgress,
    started_at: Instant,
) -> TransferDropReason {
    let last = started_at + limits.max_transfer_time;
    loop {
        let earned =
            Duration::from_millis(progress.bytes_acked().saturating_mul(1000) / MIN_BYTES_PER_SECOND);
        let slow = started_at + limits.slow_allowance + earned;
        let now = Instant::now();
        if now >= last {
            return TransferDropReason::TooLong;
        }
        if now >= slow {
            return TransferDropReason::TooSlow;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the transfer is between two network cards, in real time"
        )]
        tokio::time::sleep_until(slow.min(last)).await;
    }
}

/// Why there is nothing to send.
enum FileOpenFailure {
    /// There is no file for the client; it receives an ERROR.
    Refused(TftpErrorCode, String, TransferEnd),
    /// A local fault that says nothing about the file. There is no answer: the client retries, while an ERROR would
    /// make it continue with its next boot device.
    ServerError(TransferEnd),
}

/// A transfer with an open file.
struct ActiveTransfer<'a> {
    channel: &'a mut ClientChannel,
    progress: &'a TransferProgress,
    reader: BlockReader,
    options: NegotiatedOptions,
    timer: RetransmitTimer,
    /// The shortest time before a packet is repeated to a client that has not answered.
    first_wait: Duration,
    /// Number of blocks acknowledged; on the wire this wraps.
    acked_blocks: u64,
    /// Start of the first unacknowledged block.
    window_start: BlockStart,
    /// End of each block of the window sent.
    block_ends: Vec<BlockStart>,
    /// Payload bytes of the file's last block, once it was sent.
    last_block_bytes: Option<usize>,
    /// Whether this window was already retransmitted because of a repeated ACK.
    is_gap_answered: bool,
}

impl ActiveTransfer<'_> {
    async fn run(&mut self) -> Result<(), TransferEnd> {
        if !self.options.answer.is_empty() {
            self.send_options_ack().await?;
        }
        loop {
            self.send_window().await?;
            if self.receive_acks().await? {
                return Ok(());
            }
        }
    }

    /// Sends the OACK until the client acknowledges it.
    async fn send_options_ack(&mut self) -> Result<(), TransferEnd> {
        let offer = TftpPacket::OptionsAck(self.options.answer.clone()).to_bytes();
        loop {
            send_packet(self.channel, &offer).await.map_err(|abort| self.aborted_end(abort))?;
            let (sent_at, deadline) = (Instant::now(), self.timer.deadline());
            loop {
                match self.receive_reply(deadline).await {
                    ClientReply::Ack(0) => {
                        self.record_answer();
                        return Ok(());
                    }
                    ClientReply::RequestRepeated if sent_at.elapsed() >= self.first_wait => break,
                    ClientReply::Ack(_) | ClientReply::RequestRepeated => {}
                    ClientReply::TimedOut if self.timer.may_retransmit() => break,
                    ClientReply::TimedOut => return Err(self.silent_end()),
                    ClientReply::Aborted(abort) => return Err(self.aborted_end(abort)),
                }
            }
        }
    }

    /// Waits for the client's next packet until `deadline`; before its first answer, also for a repeated request.
    async fn receive_reply(&mut self, deadline: Instant) -> ClientReply {
        if self.timer.is_answered() {
            return receive_reply(self.channel, deadline).await;
        }
        tokio::select! {
            reply = receive_reply(self.channel, deadline) => reply,
            () = self.progress.request_repeated.notified() => ClientReply::RequestRepeated,
        }
    }

    fn record_answer(&mut self) {
        self.timer.restart();
        self.progress.is_answered.store(true, Ordering::Relaxed);
    }

    /// Sends the blocks that follow the acknowledged ones.
    async fn send_window(&mut self) -> Result<(), TransferEnd> {
        let block_bytes = self.options.block_bytes;
        let mut packet = Vec::with_capacity(DATA_HEADER_BYTES + block_bytes);
        let mut start = self.window_start;
        self.block_ends.clear();
        while self.block_ends.len() < self.options.window_blocks {
            packet.clear();
            write_data_header(
                &mut packet,
                wire_block_number(self.acked_blocks + 1 + self.block_ends.len() as u64),
            );
            let written = self.reader.write_block(start, block_bytes, &mut packet).await;
            start = written.map_err(|error| server_error_end("cannot read the file", &error))?;
            send_packet(self.channel, &packet).await.map_err(|abort| self.aborted_end(abort))?;
            self.block_ends.push(start);
            let payload_bytes = packet.len() - DATA_HEADER_BYTES;
            if payload_bytes < block_bytes {
                self.last_block_bytes = Some(payload_bytes);
                break;
            }
        }
        Ok(())
    }

    /// Waits until there is a reason to send from `window_start`; returns `true` when the file is complete.
    async fn receive_acks(&mut self) -> Result<bool, TransferEnd> {
        let (sent_at, deadline) = (Instant::now(), self.timer.deadline());
        loop {
            let block = match self.receive_reply(deadline).await {
                ClientReply::Ack(block) => block,
                ClientReply::RequestRepeated if sent_at.elapsed() >= self.first_wait => return Ok(false),
                ClientReply::RequestRepeated => continue,
                ClientReply::Aborted(abort) => return Err(self.aborted_end(abort)),
                ClientReply::TimedOut if !self.timer.may_retransmit() => return Err(self.silent_end()),
                ClientReply::TimedOut => {
                    // Only a client that has acknowledged a block can be silent; before that, its request may be
                    // repeated.
                    let has_started = self.acked_blocks > 0;
                    self.progress.is_replaceable.store(has_started, Ordering::Relaxed);
                    return Ok(false);
                }
            };
            let acked = usize::from(block.wrapping_sub(wire_block_number(self.acked_blocks)));
            if let Some(end) = acked.checked_sub(1).and_then(|last| self.block_ends.get(last)).copied() {
                return Ok(self.advance(acked, end));
            }
            if acked == 0 && self.options.window_blocks > 1 && !self.is_gap_answered {
                self.is_gap_answered = true;
                return Ok(false);
            }
        }
    }

    /// Records `acked` more blocks as acknowledged, the last of which ends at `end`; returns `true` when the file is
    /// complete.
    fn advance(&mut self, acked: usize, end: BlockStart) -> bool {
        let is_whole_window = acked == self.block_ends.len();
        self.acked_blocks += acked as u64;
        self.window_start = end;
        self.record_answer();
        // A client that detected a gap may report it for each block after it.
        self.is_gap_answered = !is_whole_window;
        let last_bytes = self.last_block_bytes.filter(|_| is_whole_window);
        let full_blocks = self.acked_blocks - u64::from(last_bytes.is_some());
        let bytes = full_blocks * self.options.block_bytes as u64 + last_bytes.unwrap_or_default() as u64;
        self.progress.bytes_acked.store(bytes, Ordering::Relaxed);
        self.progress.is_replaceable.store(false, Ordering::Relaxed);
        last_bytes.is_some()
    }

    fn silent_end(&self) -> TransferEnd {
        TransferEnd::Silent {
            bytes_acked: self.progress.bytes_acked(),
            is_all_sent: self.last_block_bytes.is_some(),
        }
    }

    fn aborted_end(&self, by: ClientAbort) -> TransferEnd {
        TransferEnd::Aborted { bytes_acked: self.progress.bytes_acked(), by }
    }
}

/// The block number in packets; it wraps from 65,535 to 0.
///
/// Source: no RFC; what tftp-hpa, curl, atftp and boot loaders do.
#[expect(clippy::cast_possible_truncation, reason = "wraps intentionally")]
fn wire_block_number(block: u64) -> u16 {
    block as u16
}

fn server_error_end(what: &str, error: &io::Error) -> TransferEnd {
    TransferEnd::ServerError { reason: format!("{what}: {error}") }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_transfer_may_be_slow_for_a_minute_plus_a_second_per_4096_acknowledged_bytes() {
        let (limits, progress) = (TftpLimits::default(), TransferProgress::default());
        let after = |seconds| {
            let started_at = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
            wait_until_overdue(&limits, &progress, started_at).now_or_never()
        };
        assert_eq!((after(30), after(60)), (None, Some(TransferDropReason::TooSlow)));
        progress.bytes_acked.store(60 * 4096, Ordering::Relaxed);
        assert_eq!((after(90), after(120)), (None, Some(TransferDropReason::TooSlow)));
        progress.bytes_acked.store(1 << 40, Ordering::Relaxed);
        assert_eq!((after(3000), after(3600)), (None, Some(TransferDropReason::TooLong)));
    }
}

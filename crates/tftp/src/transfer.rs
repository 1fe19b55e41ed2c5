//! One transfer: one file to one client, over a channel that hears nobody else.
//!
//! ```text
//! open ─► OACK ─► window ─► window … ─► last block acknowledged
//!   │       │        │ ▲
//!   │       │        └─┘ a gap, or silence: from the first block that is missing
//!   ▼       ▼ silence, ERROR, the file fails
//!  ERROR   end
//! ```
//!
//! A repeated ACK is no reason to send a block again: two machines that answer each repetition with a repetition never
//! stop (the Sorcerer's Apprentice). With a window above 1 a repeated ACK can also say that a window's first block was
//! lost; that is believed once for each window.
//!
//! Source: RFC 1350 §2, §6; RFC 1123 §4.2.3.1 (Sorcerer's Apprentice) and §4.2.3.2 (backing off); RFC 7440 §4 (windows).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::body::{Body, Place};
use super::channel::Channel;
use super::limits::MIN_RATE;
use super::observer::{Abort, DropReason, End, Refusal};
use super::options::{Agreed, agree};
use super::packet::{DATA_HEADER_BYTES, ErrorCode, Mode, Packet, Request, write_data_header};
use super::talk::{Heard, Waits, hear, refuse, send};
use boot_tree::{BootTree, OpenError};

/// What others may know about a running transfer, and tell it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    bytes_acked: AtomicU64,
    is_answered: AtomicBool,
    is_yielding: AtomicBool,
    asked_again: Notify,
    dismissal: OnceLock<Dismissal>,
    dismissed: CancellationToken,
}

/// Why the server ends a transfer whose client has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dismissal {
    /// The client has asked for something from the same port again.
    AskedAnew,
    /// Nobody has answered, and others need the room.
    Room,
}

impl Progress {
    /// The payload that the client has acknowledged.
    pub(super) fn bytes_acked(&self) -> u64 {
        self.bytes_acked.load(Ordering::Relaxed)
    }

    /// Whether the same request, coming again, is a new one rather than a repetition: the transfer is over, or it got
    /// going and its client has fallen silent since, as a board does that was reset.
    pub(super) fn is_yielding(&self) -> bool {
        self.is_yielding.load(Ordering::Relaxed)
    }

    /// Whether the client has ever answered.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Relaxed)
    }

    /// Says that the client has repeated its request.
    pub(super) fn ask_again(&self) {
        self.asked_again.notify_one();
    }

    /// Ends the transfer.
    pub(super) fn dismiss(&self, why: Dismissal) {
        // The first reason is the one.
        self.dismissal.set(why).ok();
        self.dismissed.cancel();
    }

    /// Waits until somebody ends the transfer, and says how that is told.
    pub(super) async fn dismissed(&self) -> End {
        self.dismissed.cancelled().await;
        let bytes_acked = self.bytes_acked();
        match self.dismissal.get() {
            Some(Dismissal::Room) => End::Dropped { bytes_acked, why: DropReason::Room },
            Some(Dismissal::AskedAnew) | None => End::Aborted { bytes_acked, by: Abort::AskedAnew },
        }
    }

    /// Says that the transfer is over.
    pub(super) fn finish(&self) {
        self.is_yielding.store(true, Ordering::Relaxed);
    }
}

/// What a transfer works with.
#[derive(Debug)]
pub(super) struct Transfer {
    /// The boot tree.
    pub tree: Arc<BootTree>,
    /// What the client asked for.
    pub request: Request,
    /// How patient to be.
    pub limits: Limits,
    /// Kept up to date for others.
    pub progress: Arc<Progress>,
    /// How many blocks may be sent without an ACK between them, whatever the client asks for.
    pub max_window_blocks: u64,
}

impl Transfer {
    /// Sends the file over `channel`.
    pub(super) async fn run(self, channel: &mut Channel) -> End {
        let begun = Instant::now();
        let (limits, progress) = (self.limits, Arc::clone(&self.progress));
        tokio::select! {
            end = self.serve(channel, begun) => end,
            why = overdue(&limits, &progress, begun) => {
                End::Dropped { bytes_acked: progress.bytes_acked(), why }
            }
        }
    }

    async fn serve(self, channel: &mut Channel, begun: Instant) -> End {
        let body = match self.open().await {
            Ok(body) => body,
            Err(Unopened::Refused(code, message, end)) => {
                // By the time that its client has heard this it may ask for something else.
                self.progress.finish();
                refuse(channel, code, &message).await;
                return end;
            }
            Err(Unopened::Unknown(end)) => return end,
        };
        let agreed = agree(&self.request.options, body.size_bytes(), self.max_window_blocks);
        let mut sending = Sending {
            waits: Waits::new(self.limits, agreed.timeout),
            first_wait: self.limits.first_wait,
            channel,
            progress: &self.progress,
            body,
            agreed,
            acked: 0,
            from: Place::default(),
            ends: Vec::new(),
            last_bytes: None,
            is_gap_answered: false,
        };
        match sending.run().await {
            Ok(()) => End::Sent { bytes: self.progress.bytes_acked(), took: begun.elapsed() },
            Err(end) => {
                if matches!(end, End::Broken { .. }) {
                    refuse(sending.channel, ErrorCode::OTHER, "the file cannot be read").await;
                }
                end
            }
        }
    }

    async fn open(&self) -> Result<Body, Unopened> {
        let refused =
            |refusal: Refusal| Unopened::Refused(refusal.code(), refusal.to_string(), End::Refused(refusal));
        if matches!(self.request.mode, Mode::Other(_)) {
            return Err(refused(Refusal::Mode));
        }
        let (tree, file) = (Arc::clone(&self.tree), self.request.file.clone());
        let opened = boot_tree::work(move || tree.open(&file)).await;
        match opened.map_err(OpenError::Io).flatten() {
            Ok(opened) => Ok(Body::new(opened.file, opened.length, &self.request.mode)),
            Err(OpenError::NotFound | OpenError::NotAFolder) => {
                Err(Unopened::Refused(ErrorCode::NOT_FOUND, "no such file".to_owned(), End::NotFound))
            }
            Err(OpenError::Outside) => Err(refused(Refusal::Outside)),
            Err(OpenError::Loop) => Err(refused(Refusal::Loop)),
            Err(OpenError::NotAFile) => Err(refused(Refusal::NotAFile)),
            Err(OpenError::Unreadable) => Err(refused(Refusal::Unreadable)),
            Err(OpenError::Root(error)) => {
                Err(Unopened::Unknown(broken("the boot root cannot be read", &error)))
            }
            Err(OpenError::Io(error)) => Err(Unopened::Unknown(broken("cannot open the file", &error))),
        }
    }
}

/// Ends when a transfer has taken longer than it may, or longer than what its client acknowledged is worth.
async fn overdue(limits: &Limits, progress: &Progress, begun: Instant) -> DropReason {
    let last = begun + limits.longest_transfer;
    loop {
        let earned = Duration::from_millis(progress.bytes_acked().saturating_mul(1000) / MIN_RATE);
        let slow = begun + limits.slow + earned;
        let now = Instant::now();
        if now >= last {
            return DropReason::TooLong;
        }
        if now >= slow {
            return DropReason::TooSlow;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the transfer is between two network cards, in real time"
        )]
        tokio::time::sleep_until(slow.min(last)).await;
    }
}

/// Says why there is nothing to send.
enum Unopened {
    /// There is no file for the client, and it is told so.
    Refused(ErrorCode, String, End),
    /// The trouble is ours and says nothing of the file. No answer: the client asks again, whereas an ERROR would send it on
    /// to the next thing that it boots from.
    Unknown(End),
}

/// A transfer whose file is open.
struct Sending<'a> {
    channel: &'a mut Channel,
    progress: &'a Progress,
    body: Body,
    agreed: Agreed,
    waits: Waits,
    /// How long a client that has not answered waits at least until what it was sent is sent again.
    first_wait: Duration,
    /// The blocks that the client has, from the beginning; on the wire this wraps.
    acked: u64,
    /// Where the first block begins that it has not.
    from: Place,
    /// Where each block of the window ends that is on its way.
    ends: Vec<Place>,
    /// The payload of the file's last block, once it is on its way.
    last_bytes: Option<usize>,
    /// Whether this window was already sent again because of a repeated ACK.
    is_gap_answered: bool,
}

impl Sending<'_> {
    async fn run(&mut self) -> Result<(), End> {
        if !self.agreed.answer.is_empty() {
            self.offer().await?;
        }
        loop {
            self.send_window().await?;
            if self.follow().await? {
                return Ok(());
            }
        }
    }

    /// Sends the OACK until the client takes it.
    async fn offer(&mut self) -> Result<(), End> {
        let offer = Packet::OptionsAck(self.agreed.answer.clone()).to_bytes();
        loop {
            send(self.channel, &offer).await.map_err(|abort| self.aborted(abort))?;
            let (sent_at, until) = (Instant::now(), self.waits.until());
            loop {
                match self.hear(until).await {
                    Heard::Ack(0) => {
                        self.answered();
                        return Ok(());
                    }
                    Heard::AskedAgain if sent_at.elapsed() >= self.first_wait => break,
                    Heard::Ack(_) | Heard::AskedAgain => {}
                    Heard::Nothing if self.waits.is_worth_another() => break,
                    Heard::Nothing => return Err(self.silent()),
                    Heard::Gone(abort) => return Err(self.aborted(abort)),
                }
            }
        }
    }

    /// Waits for the client's next word, until `until`; before it has ever answered, also for its request again.
    async fn hear(&mut self, until: Instant) -> Heard {
        if self.waits.is_answered() {
            return hear(self.channel, until).await;
        }
        tokio::select! {
            heard = hear(self.channel, until) => heard,
            () = self.progress.asked_again.notified() => Heard::AskedAgain,
        }
    }

    fn answered(&mut self) {
        self.waits.begin();
        self.progress.is_answered.store(true, Ordering::Relaxed);
    }

    /// Sends the blocks that follow the acknowledged ones.
    async fn send_window(&mut self) -> Result<(), End> {
        let block_bytes = self.agreed.block_bytes;
        let mut packet = Vec::with_capacity(DATA_HEADER_BYTES + block_bytes);
        let mut place = self.from;
        self.ends.clear();
        while self.ends.len() < self.agreed.window_blocks {
            packet.clear();
            write_data_header(&mut packet, wire(self.acked + 1 + self.ends.len() as u64));
            let written = self.body.write_block(place, block_bytes, &mut packet).await;
            place = written.map_err(|error| broken("cannot read the file", &error))?;
            send(self.channel, &packet).await.map_err(|abort| self.aborted(abort))?;
            self.ends.push(place);
            let payload_bytes = packet.len() - DATA_HEADER_BYTES;
            if payload_bytes < block_bytes {
                self.last_bytes = Some(payload_bytes);
                break;
            }
        }
        Ok(())
    }

    /// Waits until there is a reason to send from `self.from`, or until all has arrived: then `true`.
    async fn follow(&mut self) -> Result<bool, End> {
        let (sent_at, until) = (Instant::now(), self.waits.until());
        loop {
            let block = match self.hear(until).await {
                Heard::Ack(block) => block,
                Heard::AskedAgain if sent_at.elapsed() >= self.first_wait => return Ok(false),
                Heard::AskedAgain => continue,
                Heard::Gone(abort) => return Err(self.aborted(abort)),
                Heard::Nothing if !self.waits.is_worth_another() => return Err(self.silent()),
                Heard::Nothing => {
                    // Only a client that once answered can have fallen silent; before that, its request may come twice.
                    let has_begun = self.acked > 0;
                    self.progress.is_yielding.store(has_begun, Ordering::Relaxed);
                    return Ok(false);
                }
            };
            let arrived = usize::from(block.wrapping_sub(wire(self.acked)));
            if let Some(end) = arrived.checked_sub(1).and_then(|last| self.ends.get(last)).copied() {
                return Ok(self.advance(arrived, end));
            }
            if arrived == 0 && self.agreed.window_blocks > 1 && !self.is_gap_answered {
                self.is_gap_answered = true;
                return Ok(false);
            }
        }
    }

    /// Takes `arrived` more blocks for acknowledged, the last of which ends at `end`; `true` when that was the file.
    fn advance(&mut self, arrived: usize, end: Place) -> bool {
        let is_whole_window = arrived == self.ends.len();
        self.acked += arrived as u64;
        self.from = end;
        self.answered();
        // A client that saw a gap may say so for each block behind it.
        self.is_gap_answered = !is_whole_window;
        let last_bytes = self.last_bytes.filter(|_| is_whole_window);
        let full_blocks = self.acked - u64::from(last_bytes.is_some());
        let bytes = full_blocks * self.agreed.block_bytes as u64 + last_bytes.unwrap_or_default() as u64;
        self.progress.bytes_acked.store(bytes, Ordering::Relaxed);
        self.progress.is_yielding.store(false, Ordering::Relaxed);
        last_bytes.is_some()
    }

    fn silent(&self) -> End {
        End::Silent { bytes_acked: self.progress.bytes_acked(), is_all_sent: self.last_bytes.is_some() }
    }

    fn aborted(&self, by: Abort) -> End {
        End::Aborted { bytes_acked: self.progress.bytes_acked(), by }
    }
}

/// The number of a block as it stands in packets: after 65,535 comes 0.
///
/// Source: no RFC; what tftp-hpa, curl, atftp and boot loaders do.
#[expect(clippy::cast_possible_truncation, reason = "the wrap is meant")]
fn wire(block: u64) -> u16 {
    block as u16
}

fn broken(what: &str, error: &io::Error) -> End {
    End::Broken { reason: format!("{what}: {error}") }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_transfer_may_be_slow_for_a_minute_and_a_second_for_each_4096_bytes_that_were_acknowledged() {
        let (limits, progress) = (Limits::default(), Progress::default());
        let after = |seconds| {
            let begun = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
            overdue(&limits, &progress, begun).now_or_never()
        };
        assert_eq!((after(30), after(60)), (None, Some(DropReason::TooSlow)));
        progress.bytes_acked.store(60 * 4096, Ordering::Relaxed);
        assert_eq!((after(90), after(120)), (None, Some(DropReason::TooSlow)));
        progress.bytes_acked.store(1 << 40, Ordering::Relaxed);
        assert_eq!((after(3000), after(3600)), (None, Some(DropReason::TooLong)));
    }
}

//! Single packets between the server and one client: sending, receiving, and retransmission timeouts.

use std::io;
use std::time::Duration;

use formatting::with_causes;
use tokio::time::Instant;

use super::TftpLimits;
use super::channel::ClientChannel;
use super::observer::ClientAbort;
use super::packet::{TftpErrorCode, TftpPacket};

/// The client's answer.
pub(super) enum ClientReply {
    /// All blocks up to this one have arrived.
    Ack(u16),
    /// The same request again.
    RequestRepeated,
    /// No answer in time.
    TimedOut,
    /// The client has ended the transfer.
    Aborted(ClientAbort),
}

/// Sends an ERROR once; if it is lost, the client repeats its request.
pub(super) async fn send_error(channel: &ClientChannel, code: TftpErrorCode, message: &str) {
    let error = TftpPacket::Error { code, message: message.to_owned() };
    // A failed send is the same as a lost packet.
    channel.send(&error.to_bytes()).await.ok();
}

/// Sends a packet. A failed send counts as a lost packet, unless the client's port is closed.
pub(super) async fn send_packet(channel: &ClientChannel, packet: &[u8]) -> Result<(), ClientAbort> {
    match channel.send(packet).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(ClientAbort::PortClosed),
        Err(error) => {
            tracing::debug!(error = %with_causes(&error), "cannot send a TFTP packet");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Waits for the client's next packet until `deadline`.
pub(super) async fn receive_reply(channel: &mut ClientChannel, deadline: Instant) -> ClientReply {
    // Enough for an ERROR with a long message; all other packets of a client are shorter.
    let mut buffer = [0; 512];
    loop {
        // Real time, because retransmission is between two network cards, independent of a demo's clock.
        let length = match tokio::time::timeout_at(deadline, channel.receive(&mut buffer)).await {
            Err(_elapsed) => return ClientReply::TimedOut,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return ClientReply::Aborted(ClientAbort::PortClosed);
            }
            // Errors such as "no route": the board's switch is starting, or its power is off.
            Ok(Err(_)) => continue,
            Ok(Ok(length)) => length,
        };
        match TftpPacket::parse(buffer.get(..length).unwrap_or_default()) {
            Ok(TftpPacket::Ack { block }) => return ClientReply::Ack(block),
            Ok(TftpPacket::Error { code, message }) => {
                return ClientReply::Aborted(ClientAbort::Error { code, message });
            }
            Ok(
                TftpPacket::Read(_)
                | TftpPacket::Write(_)
                | TftpPacket::Data { .. }
                | TftpPacket::OptionsAck(_),
            )
            | Err(_) => {}
        }
    }
}

/// Retransmission timer for one client.
pub(super) struct RetransmitTimer {
    limits: TftpLimits,
    fixed_wait: Option<Duration>,
    tries: u32,
    is_answered: bool,
    /// Time of the client's last answer.
    silent_since: Instant,
}

impl RetransmitTimer {
    /// Creates a timer with the waits of `limits`, or with `fixed_wait` if the client requested it.
    pub(super) fn new(limits: TftpLimits, fixed_wait: Option<Duration>) -> Self {
        Self { limits, fixed_wait, tries: 0, is_answered: false, silent_since: Instant::now() }
    }

    /// Restarts with a short wait after an answer.
    pub(super) fn restart(&mut self) {
        (self.tries, self.is_answered, self.silent_since) = (0, true, Instant::now());
    }

    /// Whether the client has ever answered.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Returns the deadline for an answer to the packet being sent.
    pub(super) fn deadline(&self) -> Instant {
        let now = Instant::now();
        if !self.is_answered {
            let half = self.limits.first_answer_timeout / 2;
            let last = self.silent_since + self.limits.first_answer_timeout;
            // Repeating the request does not extend the wait.
            return if self.tries == 0 {
                (now + self.fixed_wait.unwrap_or(half).min(half)).min(last)
            } else {
                last
            };
        }
        (now + self.next_wait()).min(self.silent_since + self.limits.max_silence)
    }

    /// Returns the current wait for a client that has answered before.
    fn next_wait(&self) -> Duration {
        let doubled = self.limits.first_retransmit_after.saturating_mul(1 << self.tries.min(16));
        self.fixed_wait.unwrap_or_else(|| doubled.min(self.limits.max_retransmit_wait))
    }

    /// Counts a timeout; returns whether to retransmit.
    pub(super) fn may_retransmit(&mut self) -> bool {
        self.tries += 1;
        let (retries, max_silence) = if self.is_answered {
            (self.limits.max_retransmits, self.limits.max_silence)
        } else {
            (1, self.limits.first_answer_timeout)
        };
        self.tries <= retries && self.silent_since.elapsed() < max_silence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retransmission_waits_double_up_to_a_limit_or_use_the_clients_timeout() {
        let waited = |fixed_wait| {
            let (mut timer, mut waited) =
                (RetransmitTimer::new(TftpLimits::default(), fixed_wait), Vec::new());
            timer.restart();
            loop {
                waited.push(timer.next_wait().as_secs());
                if !timer.may_retransmit() {
                    return waited;
                }
            }
        };
        assert_eq!(waited(None), [1, 2, 4, 4, 4, 4]);
        assert_eq!(waited(Some(Duration::from_secs(7))), [7; 6]);
    }

    #[test]
    fn repeating_a_request_does_not_extend_the_first_wait() {
        let limits = TftpLimits::default();
        let at = |age| RetransmitTimer {
            silent_since: Instant::now().checked_sub(age).unwrap(),
            ..RetransmitTimer::new(limits, None)
        };
        let remaining = |timer: &RetransmitTimer| timer.deadline().saturating_duration_since(Instant::now());
        let half = limits.first_answer_timeout / 2;
        assert!(remaining(&at(Duration::ZERO)) > half / 2);
        assert!(remaining(&at(half + half / 2)) <= half / 2, "until the limit, not three seconds from now");
        let mut late = at(limits.first_answer_timeout);
        assert_eq!(remaining(&late), Duration::ZERO);
        assert!(!late.may_retransmit());
        assert!(at(half).may_retransmit());
    }
}

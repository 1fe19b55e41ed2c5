//! Single words between the server and one client: sending, hearing, and how long to wait for an answer.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::TftpLimits;
use super::channel::ClientChannel;
use super::observer::ClientAbort;
use super::packet::{TftpErrorCode, TftpPacket};

/// What the client answered.
pub(super) enum ClientReply {
    /// Everything up to this block has arrived.
    Ack(u16),
    /// Its request, once more.
    RequestRepeated,
    /// Nothing, in time.
    TimedOut,
    /// That there is no transfer any more.
    Aborted(ClientAbort),
}

/// Tells the client, once, that there will be no file; if this is lost, it asks again.
pub(super) async fn send_error(channel: &ClientChannel, code: TftpErrorCode, message: &str) {
    let error = TftpPacket::Error { code, message: message.to_owned() };
    // Lost or not sent is the same to the client.
    channel.send(&error.to_bytes()).await.ok();
}

/// Sends a packet; one that cannot be sent is as good as lost, unless nobody is there any more.
pub(super) async fn send_packet(channel: &ClientChannel, packet: &[u8]) -> Result<(), ClientAbort> {
    match channel.send(packet).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(ClientAbort::PortClosed),
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a TFTP packet could not be sent");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Waits for the client's next word, until `until`.
pub(super) async fn receive_reply(channel: &mut ClientChannel, until: Instant) -> ClientReply {
    // Room for an ERROR with a long message; all else that a client says is shorter.
    let mut room = [0; 512];
    loop {
        // Real time, not the farm's: retransmission is between two network cards, however fast a demo's clock runs.
        let length = match tokio::time::timeout_at(until, channel.receive(&mut room)).await {
            Err(_elapsed) => return ClientReply::TimedOut,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return ClientReply::Aborted(ClientAbort::PortClosed);
            }
            // "No route" and the like: the board's switch is starting, or its power is off.
            Ok(Err(_)) => continue,
            Ok(Ok(length)) => length,
        };
        match TftpPacket::parse(room.get(..length).unwrap_or_default()) {
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

/// How long to wait for the client, time after time.
pub(super) struct RetransmitTimer {
    limits: TftpLimits,
    fixed_wait: Option<Duration>,
    tries: u32,
    is_answered: bool,
    /// Since when the client has been silent.
    silent_since: Instant,
}

impl RetransmitTimer {
    /// Waits as `limits` say, or `fixed` each time where the client asked for that.
    pub(super) fn new(limits: TftpLimits, fixed: Option<Duration>) -> Self {
        Self { limits, fixed_wait: fixed, tries: 0, is_answered: false, silent_since: Instant::now() }
    }

    /// The client has answered: begin with a short wait again.
    pub(super) fn restart(&mut self) {
        (self.tries, self.is_answered, self.silent_since) = (0, true, Instant::now());
    }

    /// Whether the client has ever answered.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Until when to wait for an answer to what is being sent.
    pub(super) fn deadline(&self) -> Instant {
        let now = Instant::now();
        if !self.is_answered {
            let half = self.limits.first_answer_timeout / 2;
            let last = self.silent_since + self.limits.first_answer_timeout;
            // A client that repeats its request is not waited for any longer than another.
            return if self.tries == 0 {
                (now + self.fixed_wait.unwrap_or(half).min(half)).min(last)
            } else {
                last
            };
        }
        (now + self.next_wait()).min(self.silent_since + self.limits.max_silence)
    }

    /// How long a client that has answered is waited for this time.
    fn next_wait(&self) -> Duration {
        let doubled = self.limits.first_retransmit_after.saturating_mul(1 << self.tries.min(16));
        self.fixed_wait.unwrap_or_else(|| doubled.min(self.limits.max_retransmit_wait))
    }

    /// No answer has come: whether to send the same again.
    pub(super) fn may_retransmit(&mut self) -> bool {
        self.tries += 1;
        let (retries, longest) = if self.is_answered {
            (self.limits.max_retransmits, self.limits.max_silence)
        } else {
            (1, self.limits.first_answer_timeout)
        };
        self.tries <= retries && self.silent_since.elapsed() < longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_has_answered_is_sent_its_window_six_times_with_ever_longer_waits_or_its_own() {
        let waited = |fixed| {
            let (mut waits, mut waited) = (RetransmitTimer::new(TftpLimits::default(), fixed), Vec::new());
            waits.restart();
            loop {
                waited.push(waits.next_wait().as_secs());
                if !waits.may_retransmit() {
                    return waited;
                }
            }
        };
        assert_eq!(waited(None), [1, 2, 4, 4, 4, 4]);
        assert_eq!(waited(Some(Duration::from_secs(7))), [7; 6]);
    }

    #[test]
    fn a_client_that_has_not_answered_is_waited_for_no_longer_for_repeating_its_request() {
        let limits = TftpLimits::default();
        let at = |age| RetransmitTimer {
            silent_since: Instant::now().checked_sub(age).unwrap(),
            ..RetransmitTimer::new(limits, None)
        };
        let left = |waits: &RetransmitTimer| waits.deadline().saturating_duration_since(Instant::now());
        let half = limits.first_answer_timeout / 2;
        assert!(left(&at(Duration::ZERO)) > half / 2);
        assert!(left(&at(half + half / 2)) <= half / 2, "up to the limit, and not three seconds from here");
        let mut late = at(limits.first_answer_timeout);
        assert_eq!(left(&late), Duration::ZERO);
        assert!(!late.may_retransmit());
        assert!(at(half).may_retransmit());
    }
}

//! Single words between the server and one client: sending, hearing, and how long to wait for an answer.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::Limits;
use super::channel::Channel;
use super::observer::Abort;
use super::packet::{ErrorCode, Packet};

/// What the client answered.
pub(super) enum Heard {
    /// Everything up to this block has arrived.
    Ack(u16),
    /// Its request, once more.
    AskedAgain,
    /// Nothing, in time.
    Nothing,
    /// That there is no transfer any more.
    Gone(Abort),
}

/// Tells the client, once, that there will be no file; if this is lost, it asks again.
pub(super) async fn refuse(channel: &Channel, code: ErrorCode, message: &str) {
    let error = Packet::Error { code, message: message.to_owned() };
    // Lost or not sent is the same to the client.
    channel.send(&error.to_bytes()).await.ok();
}

/// Sends a packet; one that cannot be sent is as good as lost, unless nobody is there any more.
pub(super) async fn send(channel: &Channel, packet: &[u8]) -> Result<(), Abort> {
    match channel.send(packet).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Abort::PortClosed),
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a TFTP packet could not be sent");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Waits for the client's next word, until `until`.
pub(super) async fn hear(channel: &mut Channel, until: Instant) -> Heard {
    // Room for an ERROR with a long message; all else that a client says is shorter.
    let mut room = [0; 512];
    loop {
        // Real time, not the farm's: retransmission is between two network cards, however fast a demo's clock runs.
        let length = match tokio::time::timeout_at(until, channel.receive(&mut room)).await {
            Err(_elapsed) => return Heard::Nothing,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Heard::Gone(Abort::PortClosed);
            }
            // "No route" and the like: the board's switch is starting, or its power is off.
            Ok(Err(_)) => continue,
            Ok(Ok(length)) => length,
        };
        match Packet::parse(room.get(..length).unwrap_or_default()) {
            Ok(Packet::Ack { block }) => return Heard::Ack(block),
            Ok(Packet::Error { code, message }) => return Heard::Gone(Abort::Error { code, message }),
            Ok(Packet::Read(_) | Packet::Write(_) | Packet::Data { .. } | Packet::OptionsAck(_)) | Err(_) => {
            }
        }
    }
}

/// How long to wait for the client, time after time.
pub(super) struct Waits {
    limits: Limits,
    fixed: Option<Duration>,
    tried: u32,
    is_answered: bool,
    /// Since when the client has been silent.
    since: Instant,
}

impl Waits {
    /// Waits as `limits` say, or `fixed` each time where the client asked for that.
    pub(super) fn new(limits: Limits, fixed: Option<Duration>) -> Self {
        Self { limits, fixed, tried: 0, is_answered: false, since: Instant::now() }
    }

    /// The client has answered: begin with a short wait again.
    pub(super) fn begin(&mut self) {
        (self.tried, self.is_answered, self.since) = (0, true, Instant::now());
    }

    /// Whether the client has ever answered.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Until when to wait for an answer to what is being sent.
    pub(super) fn until(&self) -> Instant {
        let now = Instant::now();
        if !self.is_answered {
            let half = self.limits.unanswered / 2;
            let last = self.since + self.limits.unanswered;
            // A client that repeats its request is not waited for any longer than another.
            return if self.tried == 0 {
                (now + self.fixed.unwrap_or(half).min(half)).min(last)
            } else {
                last
            };
        }
        (now + self.wait()).min(self.since + self.limits.longest_silence)
    }

    /// How long a client that has answered is waited for this time.
    fn wait(&self) -> Duration {
        let doubled = self.limits.first_wait.saturating_mul(1 << self.tried.min(16));
        self.fixed.unwrap_or_else(|| doubled.min(self.limits.longest_wait))
    }

    /// No answer has come: whether to send the same again.
    pub(super) fn is_worth_another(&mut self) -> bool {
        self.tried += 1;
        let (retries, longest) = if self.is_answered {
            (self.limits.retries, self.limits.longest_silence)
        } else {
            (1, self.limits.unanswered)
        };
        self.tried <= retries && self.since.elapsed() < longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_has_answered_is_sent_its_window_six_times_with_ever_longer_waits_or_its_own() {
        let waited = |fixed| {
            let (mut waits, mut waited) = (Waits::new(Limits::default(), fixed), Vec::new());
            waits.begin();
            loop {
                waited.push(waits.wait().as_secs());
                if !waits.is_worth_another() {
                    return waited;
                }
            }
        };
        assert_eq!(waited(None), [1, 2, 4, 4, 4, 4]);
        assert_eq!(waited(Some(Duration::from_secs(7))), [7; 6]);
    }

    #[test]
    fn a_client_that_has_not_answered_is_waited_for_no_longer_for_repeating_its_request() {
        let limits = Limits::default();
        let at = |age| Waits { since: Instant::now().checked_sub(age).unwrap(), ..Waits::new(limits, None) };
        let left = |waits: &Waits| waits.until().saturating_duration_since(Instant::now());
        let half = limits.unanswered / 2;
        assert!(left(&at(Duration::ZERO)) > half / 2);
        assert!(left(&at(half + half / 2)) <= half / 2, "up to the limit, and not three seconds from here");
        let mut late = at(limits.unanswered);
        assert_eq!(left(&late), Duration::ZERO);
        assert!(!late.is_worth_another());
        assert!(at(half).is_worth_another());
    }
}

//! One probe of a board.

use std::time::Duration;

use device_io::connect;
use tokio::sync::Semaphore;

use super::super::http::{HttpTarget, NoAnswer};
use super::super::trouble::Trouble;
use super::url::PollUrl;
use crate::clock::Clock;

/// The maximum number of concurrent probes. The other file descriptors for actions are left to relay boards.
const MAX_PROBES: usize = 192;

static PROBE_PERMITS: Semaphore = Semaphore::const_new(MAX_PROBES);

/// Why a probe gave no answer.
pub(super) enum ProbeFailure {
    /// The board gave no answer, or an error.
    Silent(String),
    /// The probe could not be made, which says nothing about the board.
    NotMade(Trouble, String),
}

impl From<NoAnswer> for ProbeFailure {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::Ours { trouble, reason } => Self::NotMade(trouble, reason),
            NoAnswer::Refused(_) | NoAnswer::Silent(_) => Self::Silent(no_answer.to_string()),
        }
    }
}

/// The target of the probes of a run.
pub(super) enum ProbeTarget {
    Tcp { host: String, port: u16 },
    Http(Box<HttpTarget>),
}

impl ProbeTarget {
    /// Prepares probes of `url`.
    pub(super) fn new(url: PollUrl) -> Result<Self, String> {
        Ok(match url {
            PollUrl::Tcp { host, port } => Self::Tcp { host, port },
            PollUrl::Http(url) => Self::Http(Box::new(HttpTarget::new(url)?)),
        })
    }

    /// Probes once within `limit`, which starts when a permit is free.
    pub(super) async fn ask(&self, clock: &dyn Clock, limit: Duration) -> Result<(), ProbeFailure> {
        // The semaphore is never closed.
        let _permit = PROBE_PERMITS.acquire().await.ok();
        match self {
            Self::Tcp { host, port } => {
                connect(clock, host, *port, limit).await.map_err(NoAnswer::from)?;
                Ok(())
            }
            Self::Http(target) => {
                let answer = target.send(clock, limit, reqwest::Client::get).await?;
                if answer.status().as_u16() < 400 {
                    return Ok(());
                }
                Err(ProbeFailure::Silent(format!("HTTP status {}", answer.status())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use futures_util::FutureExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::{ManualClock, SystemClock};

    #[tokio::test]
    async fn the_time_limit_of_a_probe_starts_with_its_permit() {
        let board = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = board.local_addr().unwrap().port();
        let target = ProbeTarget::Tcp { host: "127.0.0.1".to_owned(), port };
        let (clock, limit) = (ManualClock::new(DateTime::UNIX_EPOCH), Duration::from_secs(5));
        let all = PROBE_PERMITS.acquire_many(192).await.unwrap();
        let mut probe = Box::pin(target.ask(&clock, limit));
        assert!(probe.as_mut().now_or_never().is_none());
        clock.advance(2 * limit);
        assert!(probe.as_mut().now_or_never().is_none(), "it has no permit");
        drop(all);
        let real_clock: &dyn Clock = &SystemClock;
        let answered = real_clock.timeout(Duration::from_secs(20), probe).await;
        assert!(matches!(answered, Some(Ok(()))));
    }
}

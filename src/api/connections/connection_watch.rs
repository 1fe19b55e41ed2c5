//! The phase of a connection, and its timeouts.
//!
//! ```text
//! Header ──request──▶ Busy ──answer written──▶ Idle ──first byte──▶ Header
//! ```
//!
//! Each connection has one timer, which is reset only if a deadline is earlier than the one for which it is
//! set, so that it costs nothing per request. (The timers of the HTTP library allocate for each request, and
//! count the time between two requests towards the header of the second one.)

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::limits::{HttpLimits, MIN_BYTES_PER_SECOND};

/// The timeout that closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientTimeout {
    Header,
    Idle,
    Unread,
}

/// The phase of a connection. Only the connection's own task writes it; other tasks read it, and request the end.
#[derive(Debug)]
pub(super) struct ConnectionWatch {
    limits: HttpLimits,
    opened: Instant,
    /// [`PHASE_BUSY`], or the time since which the connection waits for its client, in milliseconds since it was opened, shifted
    /// by one, with [`PHASE_IDLE_BIT`].
    phase: AtomicU64,
    /// The time since which an answer waits to be read, in milliseconds since the connection was opened, or [`NOTHING_UNREAD`].
    unread_since_ms: AtomicU64,
    /// How long answers waited before that, less the time earned by what the client has read since, in milliseconds.
    unread_before_ms: AtomicU64,
    is_end_requested: AtomicBool,
    /// Wakes the connection's task when its end is requested. Not a `CancellationToken`: polling its future locks its mutexes
    /// at each poll of the connection, and the mutex of the server-wide token is shared by all connections.
    waker: AtomicWaker,
}

const PHASE_BUSY: u64 = u64::MAX;
const PHASE_IDLE_BIT: u64 = 1;
const NOTHING_UNREAD: u64 = u64::MAX;

impl ConnectionWatch {
    /// The watch of a new connection, whose client has to send a request.
    pub(super) fn new(limits: HttpLimits) -> Self {
        Self {
            limits,
            opened: Instant::now(),
            phase: AtomicU64::new(0),
            unread_since_ms: AtomicU64::new(NOTHING_UNREAD),
            unread_before_ms: AtomicU64::new(0),
            is_end_requested: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX >> 2)
    }

    /// Whether no request is in progress and all answers have been read.
    pub(super) fn is_idle(&self) -> bool {
        self.phase.load(Ordering::Relaxed) != PHASE_BUSY
            && self.unread_since_ms.load(Ordering::Relaxed) == NOTHING_UNREAD
    }

    /// Requests the end of the connection.
    pub(super) fn request_end(&self) {
        self.is_end_requested.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the end has been requested.
    pub(super) fn is_end_requested(&self) -> bool {
        self.is_end_requested.load(Ordering::Acquire)
    }

    /// Waits until the end is requested.
    pub(super) async fn end_requested(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            if self.is_end_requested() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Notes that a request has begun.
    pub(super) fn begin_request(&self) {
        self.phase.store(PHASE_BUSY, Ordering::Relaxed);
    }

    /// Notes that a request has ended.
    pub(super) fn end_request(&self) {
        self.phase.store(self.elapsed_ms() << 1 | PHASE_IDLE_BIT, Ordering::Relaxed);
    }

    /// Notes that bytes have arrived.
    pub(super) fn note_received(&self) {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase != PHASE_BUSY && phase & PHASE_IDLE_BIT != 0 {
            self.phase.store(self.elapsed_ms() << 1, Ordering::Relaxed);
        }
    }

    /// Notes that the client does not read at present.
    pub(super) fn note_blocked(&self) {
        if self.unread_since_ms.load(Ordering::Relaxed) == NOTHING_UNREAD {
            self.unread_since_ms.store(self.elapsed_ms(), Ordering::Relaxed);
        }
    }

    /// Notes that the client has read `bytes`, as far as the socket shows.
    pub(super) fn note_taken(&self, bytes: usize) {
        let since = self.unread_since_ms.load(Ordering::Relaxed);
        let before = self.unread_before_ms.load(Ordering::Relaxed);
        if since == NOTHING_UNREAD && before == 0 {
            return;
        }
        let waited = if since == NOTHING_UNREAD { 0 } else { self.elapsed_ms() - since };
        let earned = (bytes as u64).saturating_mul(1000) / u64::from(MIN_BYTES_PER_SECOND);
        self.unread_since_ms.store(NOTHING_UNREAD, Ordering::Relaxed);
        self.unread_before_ms.store((before + waited).saturating_sub(earned), Ordering::Relaxed);
    }

    /// The next timeout, if nothing happens before.
    fn next_timeout(&self) -> Option<(Instant, ClientTimeout)> {
        let at = |ms: u64, limit: Duration| self.opened + Duration::from_millis(ms) + limit;
        let phase = self.phase.load(Ordering::Relaxed);
        let waiting = match phase {
            PHASE_BUSY => None,
            idle if idle & PHASE_IDLE_BIT != 0 => {
                Some((at(idle >> 1, self.limits.idle_timeout), ClientTimeout::Idle))
            }
            header => Some((at(header >> 1, self.limits.header_timeout), ClientTimeout::Header)),
        };
        let unread =
            Some(self.unread_since_ms.load(Ordering::Relaxed)).filter(|since| *since != NOTHING_UNREAD);
        let unread = unread.map(|since| {
            let before = Duration::from_millis(self.unread_before_ms.load(Ordering::Relaxed));
            (at(since, self.limits.unread_timeout.saturating_sub(before)), ClientTimeout::Unread)
        });
        waiting.into_iter().chain(unread).min_by_key(|(at, _)| *at)
    }

    /// Waits until the client has exceeded a timeout. It must be polled whenever the connection has been polled.
    pub(super) async fn timed_out(&self) -> ClientTimeout {
        #[expect(clippy::disallowed_methods, reason = "timeouts of connections are in real time")]
        let mut timer = pin!(tokio::time::sleep_until(self.opened));
        let mut set_for: Option<Instant> = None;
        poll_fn(|context| {
            loop {
                let Some((due, timeout)) = self.next_timeout() else { return Poll::Pending };
                if set_for.is_none_or(|set_for| due < set_for) {
                    timer.as_mut().reset(due);
                    set_for = Some(due);
                }
                ready!(timer.as_mut().poll(context));
                if Instant::now() >= due {
                    return Poll::Ready(timeout);
                }
                set_for = None;
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_a_client_reads_reduce_the_time_that_an_answer_has_waited() {
        let watch = ConnectionWatch::new(HttpLimits::default());
        watch.note_taken(1 << 20);
        assert_eq!(watch.unread_before_ms.load(Ordering::Relaxed), 0, "nothing is earned in advance");
        watch.unread_before_ms.store(5000, Ordering::Relaxed);
        watch.note_taken(2 * 4096);
        assert_eq!(watch.unread_before_ms.load(Ordering::Relaxed), 3000);
        assert!(watch.is_idle());
        watch.note_blocked();
        assert!(!watch.is_idle(), "it has not read all of its answer");
        let (due, timeout) = watch.next_timeout().unwrap();
        assert_eq!(timeout, ClientTimeout::Header, "earlier than the 27 s that are left for the answer");
        assert!(due <= Instant::now() + watch.limits.header_timeout);
        watch.begin_request();
        let (due, timeout) = watch.next_timeout().unwrap();
        assert_eq!(timeout, ClientTimeout::Unread);
        let left = due.saturating_duration_since(Instant::now());
        assert!(left > Duration::from_secs(20) && left <= Duration::from_secs(27), "{left:?}");
    }
}

//! Time, as everything that belongs to the farm sees it.
//!
//! Deadlines, power gaps, boot times and poll intervals run on a [`Clock`] that the process is given, so that tests
//! move it by hand ([`ManualClock`]) and the demo runs it faster ([`ScaledClock`]). What belongs to the machine that we
//! run on — a worker's lease, a database connection — runs on real time and says so where it does.

mod system;

use std::time::Duration;

use chrono::{
    DateTime, Local, MappedLocalTime, NaiveDateTime, SubsecRound, TimeDelta, TimeZone, Timelike, Utc,
};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

pub use system::SystemClock;

/// Tells the farm's time and wakes who waits for it.
pub trait Clock: Send + Sync + 'static {
    /// The time now, cut to the microseconds that Postgres keeps.
    fn now(&self) -> DateTime<Utc>;

    /// Ends when the clock shows `at` or later.
    fn sleep_until(&self, at: DateTime<Utc>) -> BoxFuture<'static, ()>;

    /// Ends when `span` has passed, whatever is done to the clock's hands meanwhile.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;

    /// What the wall clock of this machine shows, where this clock follows it.
    fn wall(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// Goes on towards the time of another server of the farm, or towards the wall clock where there is none; to be called
    /// about once a second. Says by how much the wall clock was stepped since the last call, if it was.
    fn follow(&self, _peer: Option<DateTime<Utc>>) -> Option<TimeDelta> {
        None
    }

    /// Takes the time of another server of the farm for its own, before anything is decided by it; says by how much that
    /// is ahead.
    fn join(&self, _peer: DateTime<Utc>) -> TimeDelta {
        TimeDelta::zero()
    }
}

impl dyn Clock {
    /// Runs `work` for at most `span` of this clock; `None` when the time ran out and `work` was dropped.
    pub async fn timeout<T>(&self, span: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.sleep(span) => None,
        }
    }
}

/// The time `span` after `at`, or the last time there is where the sum does not fit.
#[must_use]
pub fn after(at: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(span)
        .ok()
        .and_then(|span| at.checked_add_signed(span))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// What is left from `now` until `at`; nothing once `at` has come.
fn until(at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Duration> {
    (at - now).to_std().ok().filter(|left| !left.is_zero())
}

/// Reads the machine's wall clock: the one place that does.
fn wall() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    Utc::now().trunc_subsecs(6)
}

/// The moment that a clock on the wall of this machine means, by its time zone.
///
/// Where clocks are put back, the first of the two moments; where they are put forward over it, the moment at which that
/// happens.
#[must_use]
pub fn from_wall(shown: NaiveDateTime) -> DateTime<Utc> {
    let moment = |shown: NaiveDateTime| match Local.from_local_datetime(&shown) {
        MappedLocalTime::Single(at) => Some(at.to_utc()),
        // They come in no order.
        MappedLocalTime::Ambiguous(one, other) => Some(one.min(other).to_utc()),
        MappedLocalTime::None => None,
    };
    let after_the_gap = || {
        let minute = shown.with_second(0)?.with_nanosecond(0)?;
        (1..=24 * 60).find_map(|minutes| moment(minute.checked_add_signed(TimeDelta::minutes(minutes))?))
    };
    moment(shown).or_else(after_the_gap).unwrap_or_else(|| shown.and_utc())
}

/// Waits in real time: for what is about this process or this machine, and not about the farm.
pub async fn pause(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    tokio::time::sleep(span).await;
}

/// A clock that starts at the present time and runs `rate` times as fast.
#[derive(Debug, Clone, Copy)]
pub struct ScaledClock {
    rate: f64,
    wall_start: DateTime<Utc>,
    start: Instant,
}

impl ScaledClock {
    /// Starts a clock at the present time; `rate` is farm seconds per real second and must be above zero.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        Self { rate, wall_start: wall(), start: Instant::now() }
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> DateTime<Utc> {
        after(self.wall_start, self.start.elapsed().mul_f64(self.rate)).trunc_subsecs(6)
    }

    fn sleep_until(&self, at: DateTime<Utc>) -> BoxFuture<'static, ()> {
        let clock = *self;
        Box::pin(async move {
            while let Some(left) = until(at, clock.now()) {
                let real = left.div_f64(clock.rate).min(Duration::from_secs(10));
                pause(real.max(Duration::from_micros(100))).await;
            }
        })
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(after(self.now(), span))
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: watch::Sender<DateTime<Utc>>,
}

impl ManualClock {
    /// Starts a clock that stands at `now`.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        Self { now: watch::Sender::new(now.trunc_subsecs(6)) }
    }

    /// Moves the clock forward by `span` and wakes everybody whose time has come.
    pub fn advance(&self, span: Duration) {
        self.now.send_modify(|now| *now = after(*now, span).trunc_subsecs(6));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.now.borrow()
    }

    fn sleep_until(&self, at: DateTime<Utc>) -> BoxFuture<'static, ()> {
        let mut now = self.now.subscribe();
        Box::pin(async move {
            // The sender lives as long as the clock; without a clock no time comes, so the sleeper sleeps on.
            if now.wait_for(|now| *now >= at).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(after(self.now(), span))
    }
}

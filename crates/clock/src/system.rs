//! The machine's time: elapsed time since the process began, counted from what the wall clock showed then.
//!
//! A wall clock may be stepped, by an operator or a time server; spans must not be. So the time is counted by a clock that
//! nobody sets and that goes on while the machine is suspended. It *follows* the wall clock, or another server's time,
//! without a jump: by going at most 1 % faster or slower until both agree. What a time server corrects little by little
//! goes into both clocks alike and need not be followed.
//!
//! Across a restart the wall clock is all there is, unless other servers are running: then their time is [joined].
//!
//! [joined]: crate::clock::Clock::join

use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::pause::sleep_real_time;
use crate::spans::remaining;
use crate::wall::wall;

/// How much faster or slower the clock goes while it follows another, in millionths.
const MAX_RATE_PPM: i64 = 10_000;
/// For how long it does so if it is not told to go on, in microseconds.
const FOLLOW_FOR_US: i64 = 2_000_000;
/// How well another server's time is known, in microseconds: it comes by way of the database, which is slow under load.
const PEER_ERROR_US: i64 = 250_000;
/// From this on a difference is a step, and not the time that it takes to read two clocks.
const MIN_STEP: TimeDelta = TimeDelta::seconds(1);
/// How far apart the readings of the counting clock before and after that of the wall clock may be, in microseconds.
const MAX_READING_GAP_US: i64 = 100_000;
/// How often that is tried: the process may be paused in between.
const READING_TRIES: usize = 3;

/// The time of this process, which has one.
static TIMELINE: LazyLock<RwLock<SlewedTimeline>> =
    LazyLock::new(|| RwLock::new(SlewedTimeline::new(&ClockReading::take())));

/// The machine's own time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    fn with<T>(work: impl FnOnce(&mut SlewedTimeline) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut TIMELINE.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        let timeline = TIMELINE.read().unwrap_or_else(PoisonError::into_inner);
        from_us(timeline.at(boottime_us()))
    }

    fn sleep_until(&self, at: DateTime<Utc>) -> BoxFuture<'static, ()> {
        let clock = *self;
        Box::pin(async move {
            // In steps: the timer stands still while the machine is suspended, this clock does not.
            while let Some(left) = remaining(at, clock.now()) {
                sleep_real_time(left.min(Duration::from_secs(10))).await;
            }
        })
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(sleep_real_time(span))
    }

    fn wall(&self) -> Option<DateTime<Utc>> {
        Some(wall())
    }

    fn follow(&self, peer: Option<DateTime<Utc>>) -> Option<TimeDelta> {
        let reading = ClockReading::take();
        Self::with(|timeline| timeline.follow(&reading, peer.map(|peer| peer.timestamp_micros())))
    }

    fn join(&self, peer: DateTime<Utc>) -> TimeDelta {
        let counted = boottime_us();
        let ahead = Self::with(|timeline| timeline.join(counted, peer.timestamp_micros()));
        TimeDelta::microseconds(ahead)
    }
}

/// A time in microseconds as a time; one that no calendar has is the last one that it has.
fn from_us(us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us).unwrap_or(DateTime::<Utc>::MAX_UTC).trunc_subsecs(6)
}

/// What the counting clock shows, in microseconds.
fn boottime_us() -> i64 {
    // Only where there is no such clock; then never.
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let counted = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or_else(|_| BEGIN.elapsed(), Duration::from);
    i64::try_from(counted.as_micros()).unwrap_or(i64::MAX)
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
struct ClockReading {
    boottime_us: i64,
    wall_us: i64,
}

impl ClockReading {
    fn take() -> Self {
        let take = || {
            let (before, shown, after) = (boottime_us(), wall(), boottime_us());
            (Self { boottime_us: after, wall_us: shown.timestamp_micros() }, after - before)
        };
        let mut best = take();
        for _ in 1..READING_TRIES {
            if best.1 <= MAX_READING_GAP_US {
                break;
            }
            best = take();
        }
        best.0
    }

    /// What the wall clock shows beyond what was counted; another number after it was set.
    fn offset_us(&self) -> i64 {
        self.wall_us - self.boottime_us
    }
}

/// Time as a function of what the counting clock shows.
#[derive(Debug)]
struct SlewedTimeline {
    /// A moment of both.
    boottime_us: i64,
    time_us: i64,
    /// How much faster time goes from there, for a while.
    rate_ppm: i64,
    /// The wall clock's offset when it was last read.
    offset_us: i64,
}

impl SlewedTimeline {
    fn new(reading: &ClockReading) -> Self {
        Self {
            boottime_us: reading.boottime_us,
            time_us: reading.wall_us,
            rate_ppm: 0,
            offset_us: reading.offset_us(),
        }
    }

    /// The time when the counting clock shows `counted_us`.
    fn at(&self, counted_us: i64) -> i64 {
        let elapsed = counted_us.saturating_sub(self.boottime_us).max(0);
        let gained = elapsed.min(FOLLOW_FOR_US) * self.rate_ppm / 1_000_000;
        self.time_us.saturating_add(elapsed).saturating_add(gained)
    }

    /// Goes towards `peer`, or the wall clock, from here on; says by how much the wall clock was stepped since it was last
    /// read.
    fn follow(&mut self, reading: &ClockReading, peer: Option<i64>) -> Option<TimeDelta> {
        let time_us = self.at(reading.boottime_us);
        let ahead_us = match peer {
            Some(peer_us) => beyond_error(peer_us.saturating_sub(time_us)),
            None => reading.wall_us.saturating_sub(time_us),
        };
        let step = TimeDelta::microseconds(reading.offset_us().saturating_sub(self.offset_us));
        *self = Self {
            boottime_us: reading.boottime_us,
            time_us,
            // A microsecond a second is a millionth: a small difference is made up for within a second.
            rate_ppm: ahead_us.clamp(-MAX_RATE_PPM, MAX_RATE_PPM),
            offset_us: reading.offset_us(),
        };
        (step.abs() >= MIN_STEP).then_some(step)
    }

    /// Takes another process's time for its own; says by how much that is ahead.
    fn join(&mut self, counted_us: i64, peer_us: i64) -> i64 {
        let time_us = self.at(counted_us);
        let ahead_us = beyond_error(peer_us.saturating_sub(time_us));
        (self.boottime_us, self.time_us, self.rate_ppm) = (counted_us, time_us.saturating_add(ahead_us), 0);
        ahead_us
    }
}

/// How far ahead another server's time is; nothing where that may be an error.
fn beyond_error(ahead_us: i64) -> i64 {
    if ahead_us.abs() <= PEER_ERROR_US { 0 } else { ahead_us }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;

    /// What is read after `counted_s` seconds where the wall clock was stepped by `step_us` meanwhile.
    fn reading(counted_s: i64, step_us: i64) -> ClockReading {
        ClockReading { boottime_us: counted_s * SECOND, wall_us: 1_000 * HOUR + counted_s * SECOND + step_us }
    }

    #[test]
    fn a_step_of_the_wall_clock_is_noticed_once_and_spans_stay_true_to_a_hundredth() {
        for step_us in [HOUR, -HOUR] {
            let mut timeline = SlewedTimeline::new(&reading(0, 0));
            let began = timeline.at(0);
            assert_eq!(timeline.follow(&reading(1, 0), None), None);
            assert_eq!(timeline.follow(&reading(2, step_us), None), Some(TimeDelta::microseconds(step_us)));
            for second in 3..=600 {
                assert_eq!(timeline.follow(&reading(second, step_us), None), None);
            }
            let span = timeline.at(600 * SECOND) - began;
            assert!((span - 600 * SECOND).abs() <= 6 * SECOND, "{span}");
        }
    }

    #[test]
    fn it_agrees_with_the_wall_clock_in_the_end_and_then_stays_there() {
        let mut timeline = SlewedTimeline::new(&reading(0, 0));
        let step = 10 * SECOND;
        for second in 1..=1_100 {
            timeline.follow(&reading(second, step), None);
        }
        assert_eq!(timeline.at(1_100 * SECOND), reading(1_100, step).wall_us);
        // Where nobody asks it to go on, it goes as the counting clock does.
        assert_eq!(timeline.at(5_000 * SECOND), reading(5_000, step).wall_us);
    }

    #[test]
    fn another_server_s_time_is_joined_at_once_and_then_followed_whatever_the_wall_clock_shows() {
        let mut timeline = SlewedTimeline::new(&reading(0, 0));
        assert_eq!(timeline.join(SECOND, reading(1, 0).wall_us - 2 * HOUR), -2 * HOUR);
        for second in 2..=60 {
            timeline.follow(&reading(second, 0), Some(reading(second, 0).wall_us - 2 * HOUR));
            assert_eq!(timeline.at(second * SECOND), reading(second, 0).wall_us - 2 * HOUR);
        }
    }

    proptest! {
        #[test]
        fn time_never_goes_back(
            looks in prop::collection::vec((0_i64..5_000_000, -100 * HOUR..100 * HOUR, any::<bool>()), 1..50),
        ) {
            let mut timeline = SlewedTimeline::new(&reading(0, 0));
            let (mut counted_us, mut last) = (0, timeline.at(0));
            for (elapsed_us, other, is_peer) in looks {
                counted_us += elapsed_us;
                let now = timeline.at(counted_us);
                prop_assert!(now >= last);
                timeline.follow(&ClockReading { boottime_us: counted_us, wall_us: last + other }, is_peer.then_some(last - other));
                last = timeline.at(counted_us);
                prop_assert_eq!(last, now);
            }
        }
    }
}

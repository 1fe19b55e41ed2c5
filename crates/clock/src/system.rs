//! The system clock: the wall clock at the start of the process, plus the elapsed time.
//!
//! A wall clock may be stepped by an operator or a time server; durations must not be affected. So elapsed time is
//! measured by a clock that cannot be set and that runs while the machine is suspended. The system clock *follows* the
//! wall clock, or another server's time, by running at most 1 % faster or slower until both agree. Gradual corrections
//! by a time server affect both clocks and need no following.
//!
//! After a restart only the wall clock is available, unless other servers are running: then their time is [joined].
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

/// The largest rate of slewing, in millionths.
const MAX_RATE_PPM: i64 = 10_000;
/// How long slewing continues without a further call of `follow`, in microseconds.
const FOLLOW_FOR_US: i64 = 2_000_000;
/// Uncertainty of another server's time, in microseconds: it is read through the database, which is slow under load.
const PEER_ERROR_US: i64 = 250_000;
/// The smallest difference that counts as a step; smaller ones come from reading two clocks.
const MIN_STEP: TimeDelta = TimeDelta::seconds(1);
/// The largest time between the readings of the elapsed time before and after reading the wall clock, in microseconds.
const MAX_READING_GAP_US: i64 = 100_000;
/// Tries of such a reading: the process may be paused in between.
const READING_TRIES: usize = 3;

/// The timeline of this process.
static TIMELINE: LazyLock<RwLock<SlewedTimeline>> =
    LazyLock::new(|| RwLock::new(SlewedTimeline::new(&ClockReading::take())));

/// The system clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    fn with<T>(work: impl FnOnce(&mut SlewedTimeline) -> T) -> T {
        // A panic elsewhere cannot leave it half-written: each use is one call.
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
            // In steps: the timer stops while the machine is suspended, this clock does not.
            while let Some(remaining_time) = remaining(at, clock.now()) {
                sleep_real_time(remaining_time.min(Duration::from_secs(10))).await;
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
        let elapsed = boottime_us();
        let ahead = Self::with(|timeline| timeline.join(elapsed, peer.timestamp_micros()));
        TimeDelta::microseconds(ahead)
    }
}

/// Converts microseconds to a time, saturating at the largest one.
fn from_us(us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us).unwrap_or(DateTime::<Utc>::MAX_UTC).trunc_subsecs(6)
}

/// Elapsed time since boot, in microseconds.
fn boottime_us() -> i64 {
    // Used only on systems without this clock.
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let elapsed = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or_else(|_| BEGIN.elapsed(), Duration::from);
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}

/// Readings of both clocks at the same moment.
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

    /// Difference between wall clock and elapsed time; it changes when the wall clock is set.
    fn offset_us(&self) -> i64 {
        self.wall_us - self.boottime_us
    }
}

/// Time as a function of the elapsed time since boot.
#[derive(Debug)]
struct SlewedTimeline {
    /// Elapsed time and time at the start of this segment.
    boottime_us: i64,
    time_us: i64,
    /// Slew rate of this segment.
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

    /// Returns the time at `elapsed_since_boot_us`.
    fn at(&self, elapsed_since_boot_us: i64) -> i64 {
        let elapsed = elapsed_since_boot_us.saturating_sub(self.boottime_us).max(0);
        let gained = elapsed.min(FOLLOW_FOR_US) * self.rate_ppm / 1_000_000;
        self.time_us.saturating_add(elapsed).saturating_add(gained)
    }

    /// Starts to slew towards `peer`, or the wall clock; returns the step of the wall clock since the last reading.
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
            // A microsecond per second is a millionth: a small difference is compensated within a second.
            rate_ppm: ahead_us.clamp(-MAX_RATE_PPM, MAX_RATE_PPM),
            offset_us: reading.offset_us(),
        };
        (step.abs() >= MIN_STEP).then_some(step)
    }

    /// Takes over another process's time; returns by how much it is ahead.
    fn join(&mut self, elapsed_since_boot_us: i64, peer_us: i64) -> i64 {
        let time_us = self.at(elapsed_since_boot_us);
        let ahead_us = beyond_error(peer_us.saturating_sub(time_us));
        (self.boottime_us, self.time_us, self.rate_ppm) =
            (elapsed_since_boot_us, time_us.saturating_add(ahead_us), 0);
        ahead_us
    }
}

/// Returns how far ahead another server's time is; 0 if within its uncertainty.
fn beyond_error(ahead_us: i64) -> i64 {
    if ahead_us.abs() <= PEER_ERROR_US { 0 } else { ahead_us }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;

    /// Returns the reading after `elapsed_s` seconds, with the wall clock stepped by `step_us`.
    fn reading(elapsed_s: i64, step_us: i64) -> ClockReading {
        ClockReading { boottime_us: elapsed_s * SECOND, wall_us: 1_000 * HOUR + elapsed_s * SECOND + step_us }
    }

    #[test]
    fn a_step_of_the_wall_clock_is_detected_once_and_durations_stay_exact_to_one_percent() {
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
    fn it_converges_to_the_wall_clock_and_then_agrees_with_it() {
        let mut timeline = SlewedTimeline::new(&reading(0, 0));
        let step = 10 * SECOND;
        for second in 1..=1_100 {
            timeline.follow(&reading(second, step), None);
        }
        assert_eq!(timeline.at(1_100 * SECOND), reading(1_100, step).wall_us);
        // Without further calls it runs like the elapsed time.
        assert_eq!(timeline.at(5_000 * SECOND), reading(5_000, step).wall_us);
    }

    #[test]
    fn another_server_s_time_is_taken_over_at_once_and_then_followed_instead_of_the_wall_clock() {
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
            readings in prop::collection::vec((0_i64..5_000_000, -100 * HOUR..100 * HOUR, any::<bool>()), 1..50),
        ) {
            let mut timeline = SlewedTimeline::new(&reading(0, 0));
            let (mut elapsed_since_boot_us, mut last) = (0, timeline.at(0));
            for (elapsed_us, other, is_peer) in readings {
                elapsed_since_boot_us += elapsed_us;
                let now = timeline.at(elapsed_since_boot_us);
                prop_assert!(now >= last);
                timeline.follow(&ClockReading { boottime_us: elapsed_since_boot_us, wall_us: last + other }, is_peer.then_some(last - other));
                last = timeline.at(elapsed_since_boot_us);
                prop_assert_eq!(last, now);
            }
        }
    }
}

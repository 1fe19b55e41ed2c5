//! A clock for demos, faster than real time.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::pause::sleep_real_time;
use crate::spans::{remaining, time_after};
use crate::wall::wall;

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
        time_after(self.wall_start, self.start.elapsed().mul_f64(self.rate)).trunc_subsecs(6)
    }

    fn sleep_until(&self, at: DateTime<Utc>) -> BoxFuture<'static, ()> {
        let clock = *self;
        Box::pin(async move {
            while let Some(remaining_time) = remaining(at, clock.now()) {
                let real = remaining_time.div_f64(clock.rate).min(Duration::from_secs(10));
                sleep_real_time(real.max(Duration::from_micros(100))).await;
            }
        })
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(time_after(self.now(), span))
    }
}

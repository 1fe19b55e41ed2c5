//! Random durations.

use std::time::Duration;

use random::Random;

/// The 95th percentile of the standard normal distribution. Source: any table of it.
const Z_SCORE_P95: f64 = 1.644_853_626_951_472;

/// A distribution of durations, in seconds. Samples are rounded to milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// A constant.
    Constant(f64),
    /// A uniform distribution.
    Uniform {
        /// The shortest.
        from: f64,
        /// The longest.
        to: f64,
    },
    /// An exponential distribution: the time until an event of constant rate.
    Exponential {
        /// The mean.
        mean: f64,
    },
    /// A lognormal distribution, as of people's and machines' durations: never negative, sometimes much longer than
    /// usual.
    LogNormal {
        /// The median.
        median: f64,
        /// The standard deviation of the logarithm.
        sigma: f64,
    },
}

impl Distribution {
    /// Creates the lognormal distribution with this median and 95th percentile.
    #[must_use]
    pub fn log_normal(median: f64, p95: f64) -> Self {
        Self::LogNormal { median, sigma: (p95 / median).ln() / Z_SCORE_P95 }
    }

    /// Creates the distribution of the time between events that happen `times` in `period` seconds on average.
    #[must_use]
    pub fn rate(times: f64, period: f64) -> Self {
        Self::Exponential { mean: period / times }
    }

    /// Draws a duration, in milliseconds.
    pub fn draw(&self, random: &mut Random) -> u64 {
        let seconds = match *self {
            Self::Constant(seconds) => seconds,
            Self::Uniform { from, to } => from + (to - from) * random.next_fraction(),
            Self::Exponential { mean } => -mean * (1.0 - random.next_fraction()).ln(),
            Self::LogNormal { median, sigma } => median * (sigma * normal(random)).exp(),
        };
        milliseconds(seconds)
    }
}

/// Draws from the standard normal distribution.
///
/// Source: Box, Muller, "A note on the generation of random normal deviates" (1958).
fn normal(random: &mut Random) -> f64 {
    let radius = (-2.0 * (1.0 - random.next_fraction()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.next_fraction()).cos()
}

/// Converts to whole milliseconds, at most the maximum.
fn milliseconds(seconds: f64) -> u64 {
    // Rounded, not truncated: a third of a second is 333 ms, and three tenths are 300 ms.
    let span = Duration::try_from_secs_f64(seconds + 0.000_5);
    span.ok().and_then(|span| u64::try_from(span.as_millis()).ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(distribution: Distribution) -> Vec<u64> {
        let mut random = Random::new(5);
        let mut spans: Vec<u64> = (0..100_000).map(|_| distribution.draw(&mut random)).collect();
        spans.sort_unstable();
        spans
    }

    /// Within 2 % of the expected value.
    fn is_near(found: u64, expected: u64) -> bool {
        found.abs_diff(expected) * 50 <= expected
    }

    #[test]
    fn spans_are_spread_as_their_distribution_says() {
        assert!(drawn(Distribution::Constant(0.3)).iter().all(|span| *span == 300));

        let uniform = drawn(Distribution::Uniform { from: 10.0, to: 20.0 });
        assert!(uniform[0] >= 10_000 && uniform[0] < 10_010 && uniform[99_999] <= 20_000);
        assert!(is_near(uniform[50_000], 15_000) && is_near(uniform[95_000], 19_500));

        let rate = drawn(Distribution::rate(2.0, 86_400.0));
        assert!(is_near(rate.iter().sum::<u64>() / 100_000, 43_200_000));
        assert!(is_near(rate[50_000], 29_943_958), "the median is the mean times ln 2: {}", rate[50_000]);

        let lognormal = drawn(Distribution::log_normal(45.0, 90.0));
        assert!(is_near(lognormal[50_000], 45_000) && is_near(lognormal[95_000], 90_000));
        assert!(is_near(lognormal[5_000], 22_500), "as much below as above: {}", lognormal[5_000]);
    }

    #[test]
    fn an_event_of_rate_zero_never_happens() {
        let never = Distribution::rate(1e-300, 1e300);
        assert_eq!(never.draw(&mut Random::new(1)), u64::MAX);
        assert_eq!(Distribution::Constant(f64::NAN).draw(&mut Random::new(1)), u64::MAX);
    }
}

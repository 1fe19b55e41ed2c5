//! Repeatable random numbers: the same seed gives the same simulated farm with the same faults.

use std::time::Duration;

/// How far a span is varied up or down, because no two boards are alike.
const SPREAD_FRACTION: f64 = 0.3;

/// A generator of pseudorandom numbers.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014): `SplitMix64`.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts the sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Starts an independent sequence for each `(seed, stream)`.
    #[must_use]
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut streams = Self(stream);
        Self(seed ^ streams.next_u64())
    }

    /// Returns a number of the full range.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 up to, but not including, 1.
    pub fn next_fraction(&mut self) -> f64 {
        let high = u32::try_from(self.next_u64() >> 32).unwrap_or(u32::MAX);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }

    /// Returns a number below `end`, or 0 where `end` is 0.
    pub fn next_below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next_u64() % end).unwrap_or(0)
    }

    /// Returns `span` varied by up to 30 % up or down.
    pub fn spread(&mut self, span: Duration) -> Duration {
        span.mul_f64(1.0 - SPREAD_FRACTION + 2.0 * SPREAD_FRACTION * self.next_fraction())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_reference_implementation() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn spans_stay_within_the_spread_and_differ() {
        let mut random = Random::new(7);
        let spans: Vec<_> = (0..1000).map(|_| random.spread(Duration::from_secs(10))).collect();
        let (shortest, longest) = (spans.iter().min().unwrap(), spans.iter().max().unwrap());
        assert!(
            *shortest >= Duration::from_secs(7) && *shortest < Duration::from_millis(7100),
            "{shortest:?}"
        );
        assert!(
            *longest <= Duration::from_secs(13) && *longest > Duration::from_millis(12_900),
            "{longest:?}"
        );
    }

    #[test]
    fn streams_of_one_seed_differ() {
        assert_ne!(Random::stream(1, 1).next_u64(), Random::stream(1, 2).next_u64());
        assert_ne!(Random::stream(1, 1).next_u64(), Random::stream(2, 1).next_u64());
        assert_eq!(Random::stream(1, 1).next_u64(), Random::stream(1, 1).next_u64());
    }
}

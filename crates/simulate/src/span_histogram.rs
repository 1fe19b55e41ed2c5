//! A histogram of spans: counts per rounded span, so that a year of a large farm fits into memory.

use std::collections::BTreeMap;

use statistics::percentile_rank;

/// Number of significant digits of a span.
const SPAN_DIGITS: u32 = 4;

/// Counts of spans, rounded to four significant digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SpanHistogram {
    counts: BTreeMap<u64, u64>,
    count: u64,
}

impl SpanHistogram {
    /// Adds a span.
    pub(crate) fn add(&mut self, span_ms: u64) {
        *self.counts.entry(rounded(span_ms)).or_insert(0) += 1;
        self.count += 1;
    }

    /// Adds the spans of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (span_ms, count) in &other.counts {
            *self.counts.entry(*span_ms).or_insert(0) += count;
        }
        self.count += other.count;
    }

    /// Number of spans.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The longest span, in milliseconds.
    pub(crate) fn longest(&self) -> Option<u64> {
        self.counts.last_key_value().map(|(span_ms, _)| *span_ms)
    }

    /// The percentile `percent` (0 to 100) by nearest rank, in milliseconds.
    pub(crate) fn percentile(&self, percent: u64) -> Option<u64> {
        let rank = percentile_rank(self.count, percent);
        let mut passed = 0;
        self.counts.iter().find_map(|(span_ms, count)| {
            passed += count;
            (passed >= rank).then_some(*span_ms)
        })
    }
}

fn rounded(span_ms: u64) -> u64 {
    let unit = 10_u64.pow((span_ms.checked_ilog10().unwrap_or(0) + 1).saturating_sub(SPAN_DIGITS));
    span_ms.saturating_add(unit / 2) / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_spans() {
        let mut spans = SpanHistogram::default();
        assert_eq!((spans.percentile(50), spans.longest()), (None, None));
        (1..=200).rev().for_each(|span| spans.add(span));
        let found = [0, 1, 50, 95, 99, 100].map(|percent| spans.percentile(percent));
        assert_eq!(found, [Some(1), Some(2), Some(100), Some(190), Some(198), Some(200)]);
        let mut other = SpanHistogram::default();
        other.add(1000);
        spans.merge(&other);
        assert_eq!((spans.count(), spans.longest(), spans.percentile(50)), (201, Some(1000), Some(101)));
    }

    #[test]
    fn spans_are_rounded_to_four_digits() {
        let spans = [0, 7, 9_999, 10_004, 10_005, 123_456, 99_999].map(rounded);
        assert_eq!(spans, [0, 7, 9_999, 10_000, 10_010, 123_500, 100_000]);
        assert!(rounded(u64::MAX) > u64::MAX / 10 * 9);
    }
}

//! How long things took: counted, not kept one by one, so that a year of a large farm fits into memory.

use std::collections::BTreeMap;

/// Spans are kept to this many digits.
const SPAN_DIGITS: u32 = 4;

/// How long things took, to four digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SpanHistogram {
    counts: BTreeMap<u64, u64>,
    count: u64,
}

impl SpanHistogram {
    /// Adds one.
    pub(crate) fn add(&mut self, span_ms: u64) {
        *self.counts.entry(rounded(span_ms)).or_insert(0) += 1;
        self.count += 1;
    }

    /// Adds those of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (span_ms, count) in &other.counts {
            *self.counts.entry(*span_ms).or_insert(0) += count;
        }
        self.count += other.count;
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The longest, in milliseconds.
    pub(crate) fn longest(&self) -> Option<u64> {
        self.counts.last_key_value().map(|(span_ms, _)| *span_ms)
    }

    /// The shortest span that `percent` of 100 do not exceed, in milliseconds.
    pub(crate) fn percentile(&self, percent: u64) -> Option<u64> {
        let wanted = (self.count * percent).div_ceil(100).max(1);
        let mut passed = 0;
        self.counts.iter().find_map(|(span_ms, count)| {
            passed += count;
            (passed >= wanted).then_some(*span_ms)
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
    fn spans_are_kept_to_four_digits() {
        let kept = [0, 7, 9_999, 10_004, 10_005, 123_456, 99_999].map(rounded);
        assert_eq!(kept, [0, 7, 9_999, 10_000, 10_010, 123_500, 100_000]);
        assert!(rounded(u64::MAX) > u64::MAX / 10 * 9);
    }
}

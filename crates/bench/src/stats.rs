//! Medians, spreads and percentiles: what repeated measurements amount to.

use std::time::Duration;

use serde::Serialize;

/// What repeated measurements of one thing amount to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct MeasurementSummary {
    /// The one in the middle; of an even number, the mean of the two in the middle.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The most.
    pub(crate) max: f64,
}

impl MeasurementSummary {
    /// Sums up `values`; nothing where there are none.
    #[must_use]
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let lower = if sorted.len().is_multiple_of(2) { *sorted.get(middle - 1)? } else { upper };
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}

/// The least of `values` that at least `share` of them (from 0 to 1) do not exceed; nothing where there are none.
///
/// The nearest rank: always a value that was measured, never one between two.
#[must_use]
pub(crate) fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let wanted = share * float(sorted.len());
    let rank = (1..=sorted.len()).find(|rank| float(*rank) >= wanted)?;
    sorted.get(rank - 1).copied()
}

/// A number of things, to reckon with.
#[must_use]
pub(crate) fn float(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let float = count as f64;
    float
}

/// A number that the database or the system counts, to reckon with; nothing is below zero there.
#[must_use]
pub(crate) fn counted(count: i64) -> f64 {
    float(usize::try_from(count).unwrap_or_default())
}

/// A time in milliseconds.
#[must_use]
pub(crate) fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_the_spread_around_it() {
        assert_eq!(MeasurementSummary::of(&[]), None);
        assert_eq!(
            MeasurementSummary::of(&[3.0]),
            Some(MeasurementSummary { median: 3.0, min: 3.0, max: 3.0 })
        );
        assert_eq!(
            MeasurementSummary::of(&[5.0, 1.0, 9.0]),
            Some(MeasurementSummary { median: 5.0, min: 1.0, max: 9.0 })
        );
        assert_eq!(
            MeasurementSummary::of(&[8.0, 1.0, 2.0, 4.0]),
            Some(MeasurementSummary { median: 3.0, min: 1.0, max: 8.0 })
        );
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), Some(100.0));
        assert_eq!(percentile(&values, 0.99), Some(198.0));
        assert_eq!(percentile(&values, 1.0), Some(200.0));
        assert_eq!(percentile(&values, 0.0), Some(1.0));
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}

//! Repeated measurements in three numbers.

use serde::Serialize;

/// The median and the range of repeated measurements.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MeasurementSummary {
    /// The middle value; the mean of the two middle values where their number is even.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl MeasurementSummary {
    /// Summarizes `values`; `None` for no values.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let lower = if sorted.len().is_multiple_of(2) { *sorted.get(middle - 1)? } else { upper };
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_of_the_range() {
        assert_eq!(MeasurementSummary::of(&[]), None);
        for (values, median, min, max) in [
            (&[3.0][..], 3.0, 3.0, 3.0),
            (&[5.0, 1.0, 9.0], 5.0, 1.0, 9.0),
            (&[8.0, 1.0, 2.0, 4.0], 3.0, 1.0, 8.0),
        ] {
            assert_eq!(MeasurementSummary::of(values), Some(MeasurementSummary { median, min, max }));
        }
    }
}

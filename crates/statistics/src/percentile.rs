//! Percentiles by nearest rank.

/// The rank, from 1, of the percentile `percent` (0 to 100) among `count` sorted values: the least rank such
/// that at least `percent` % of the values are not above its value.
///
/// For values that are counted, not stored: the percentile is the value at which the running count reaches this rank.
#[must_use]
pub fn percentile_rank(count: u64, percent: u64) -> u64 {
    let rank = (u128::from(count) * u128::from(percent)).div_ceil(100).max(1);
    u64::try_from(rank).unwrap_or(u64::MAX)
}

/// The least of `values` such that at least `percent` % (0 to 100) are not above it; `None` for no values.
#[must_use]
pub fn percentile(values: &[f64], percent: u64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = usize::try_from(percentile_rank(sorted.len().try_into().ok()?, percent)).ok()?;
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        let found = [0, 1, 50, 95, 99, 100].map(|percent| percentile(&values, percent));
        assert_eq!(found, [1.0, 2.0, 100.0, 190.0, 198.0, 200.0].map(Some));
        assert_eq!(percentile(&[7.0], 99), Some(7.0));
        assert_eq!(percentile(&[1.0, 2.0], 101), None);
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile_rank(u64::MAX, 100), u64::MAX);
    }
}

//! The average durations of grants, for forecasts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::TimeDelta;

use crate::store::claims::GrantedUnits;

/// The weight of a new sample in the average.
const NEW_SAMPLE_WEIGHT: f64 = 0.2;

/// The average durations of grants by resource, as observed by this process.
#[derive(Debug, Default)]
pub(super) struct TurnTimes {
    /// In microseconds.
    averages: Mutex<HashMap<String, f64>>,
}

impl TurnTimes {
    /// Records the duration of a grant of `units`.
    pub(super) fn note(&self, units: &[GrantedUnits], took: TimeDelta) {
        let Some(took) = took.num_microseconds().filter(|took| *took >= 0) else { return };
        #[expect(clippy::cast_precision_loss, reason = "the duration of a grant, in microseconds")]
        let took = took as f64;
        let mut averages = self.averages.lock().unwrap_or_else(PoisonError::into_inner);
        for GrantedUnits { resource, .. } in units {
            let known = averages.entry(resource.clone()).or_insert(took);
            *known += (took - *known) * NEW_SAMPLE_WEIGHT;
        }
    }

    /// Returns the average duration of a grant of `resource`; the longest average where it has none.
    pub(super) fn average(&self, resource: &str) -> Option<i64> {
        let averages = self.averages.lock().unwrap_or_else(PoisonError::into_inner);
        let slowest = || averages.values().copied().max_by(f64::total_cmp);
        #[expect(clippy::cast_possible_truncation, reason = "the duration of a grant, in microseconds")]
        averages.get(resource).copied().or_else(slowest).map(|micros| micros as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_without_samples_is_expected_to_be_as_slow_as_the_slowest() {
        let times = TurnTimes::default();
        assert_eq!(times.average("a"), None);
        let of = |resource: &str| {
            [GrantedUnits { resource: resource.to_owned(), units: 1, hold: None, load: None }]
        };
        times.note(&of("a"), TimeDelta::seconds(10));
        times.note(&of("a"), TimeDelta::seconds(20));
        times.note(&of("b"), TimeDelta::seconds(4));
        assert_eq!(times.average("a"), Some(12_000_000));
        assert_eq!((times.average("b"), times.average("c")), (Some(4_000_000), Some(12_000_000)));
        times.note(&of("d"), TimeDelta::seconds(-1));
        assert_eq!(times.average("d"), Some(12_000_000), "the clock was put back meanwhile");
    }
}

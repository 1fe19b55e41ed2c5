//! Times of day.

use chrono::{DateTime, Utc};

use super::spans::elapsed;

/// Writes a time as it reads at `now`: without the date where that is today's.
#[must_use]
pub fn time(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let form = if at.date_naive() == now.date_naive() { "%H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S UTC" };
    at.format(form).to_string()
}

/// Writes a start time and how long ago it was.
#[must_use]
pub fn since(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("since {} ({})", time(at, now), elapsed(now - at))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let noon = DateTime::from_timestamp(1_767_268_800, 0).unwrap();
        assert_eq!(time(noon, noon + TimeDelta::hours(11)), "12:00:00 UTC");
        assert_eq!(time(noon, noon + TimeDelta::hours(12)), "2026-01-01 12:00:00 UTC");
        assert_eq!(since(noon, noon + TimeDelta::seconds(65)), "since 12:00:00 UTC (1 min 5 s)");
    }
}

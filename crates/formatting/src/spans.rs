//! Spans of time.

use std::time::Duration;

use chrono::TimeDelta;

/// The units of [`duration`] in nanoseconds, as definitions write them.
const UNITS: [(u128, &str); 7] = [
    (86_400_000_000_000, "d"),
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1000, "us"),
    (1, "ns"),
];

/// The longest span that [`elapsed`] shows in days, in seconds: two years.
const MAX_SECONDS_IN_DAYS: i64 = 63_072_000;

/// A mean year in seconds.
const SECONDS_PER_YEAR: i64 = 31_557_600;

/// Writes a span exactly, in the notation of definitions, options and URLs: `1d 2h`, `1m 30s`, `500ms`, `0s`.
///
/// The longest unit is the day: months and years are averages, and definitions refuse them.
#[must_use]
pub fn duration(span: Duration) -> String {
    let mut rest = span.as_nanos();
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        if rest >= unit {
            parts.push(format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Writes a span in its two largest units, rounded down: `12 s`, `3 min 5 s`, `2 h 5 min`, `3 d 4 h`, `3 years`.
///
/// Negative spans are written as `0 s`.
#[must_use]
pub fn elapsed(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let two = |whole: i64, unit: &str, rest: i64, smaller: &str| match rest {
        0 => format!("{whole} {unit}"),
        rest => format!("{whole} {unit} {rest} {smaller}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        MAX_SECONDS_IN_DAYS.. => format!("{} years", seconds / SECONDS_PER_YEAR),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// Writes measured seconds with three digits below 100 s (`4.20 s`, `48.9 s`), and longer spans as [`elapsed`] does.
///
/// Negative spans are written as `0.00 s`, infinite ones and those that are not a number as `unknown`.
#[must_use]
pub fn measured(seconds: f64) -> String {
    if !seconds.is_finite() {
        "unknown".to_owned()
    } else if seconds <= 0.0 {
        "0.00 s".to_owned()
    } else if seconds < 9.995 {
        format!("{seconds:.2} s")
    } else if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else {
        let span = Duration::try_from_secs_f64(seconds.round()).unwrap_or(Duration::MAX);
        elapsed(TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_exact_and_can_be_read_again() {
        let day = Duration::from_hours(24);
        let spans = [
            (Duration::ZERO, "0s"),
            (Duration::from_millis(500), "500ms"),
            (Duration::from_millis(1500), "1s 500ms"),
            (Duration::from_secs(90), "1m 30s"),
            (Duration::from_mins(10), "10m"),
            (day + Duration::from_hours(2), "1d 2h"),
            (45 * day, "45d"),
            (400 * day + Duration::from_nanos(1001), "400d 1us 1ns"),
        ];
        for (span, text) in spans {
            assert_eq!(duration(span), text);
            assert_eq!(humantime::parse_duration(text), Ok(span));
        }
    }

    #[test]
    fn an_elapsed_span_has_its_two_largest_units() {
        let seconds = [-5, 0, 59, 60, 61, 3599, 3600, 7260, 86_399, 86_400, 90_000, 63_200_000];
        let spans: Vec<String> = seconds.map(|seconds| elapsed(TimeDelta::seconds(seconds))).into();
        let expected =
            "0 s|0 s|59 s|1 min|1 min 1 s|59 min 59 s|1 h|2 h 1 min|23 h 59 min|1 d|1 d 1 h|2 years";
        assert_eq!(spans.join("|"), expected);
    }

    #[test]
    fn a_measured_span_has_about_three_digits() {
        let spans = [0.0, 4.2, 48.94, 99.96, 250.0, 5734.0, 100_000.0, 742_080.4].map(measured);
        let expected =
            ["0.00 s", "4.20 s", "48.9 s", "1 min 40 s", "4 min 10 s", "1 h 35 min", "1 d 3 h", "8 d 14 h"];
        assert_eq!(spans, expected);
        assert_eq!([-1.0, -0.0, f64::MIN].map(measured), ["0.00 s"; 3]);
        assert_eq!([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(measured), ["unknown"; 3]);
    }
}

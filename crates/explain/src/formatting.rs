//! How times, spans and lists are said in sentences.

use chrono::{DateTime, TimeDelta, Utc};

/// A time as it is said at `now`: without the day where that is the same.
#[must_use]
pub fn time(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let form = if at.date_naive() == now.date_naive() { "%H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S UTC" };
    at.format(form).to_string()
}

/// A span in its two largest units, such as `12 s`, `3 min 5 s`, `2 h 5 min` or `3 d 4 h`, or in years; what is negative
/// is said as nothing.
#[must_use]
pub fn span(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let two = |whole: i64, unit: &str, rest: i64, smaller: &str| match rest {
        0 => format!("{whole} {unit}"),
        rest => format!("{whole} {unit} {rest} {smaller}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        63_072_000.. => format!("{} years", seconds / 31_557_600),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// Since when: the time, and how long ago that is.
#[must_use]
pub fn since(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("since {} ({})", time(at, now), span(now - at))
}

/// A list with its last two joined by `last`: `a, b or c`.
pub(crate) fn list<T: AsRef<str>>(items: &[T], last: &str) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match items.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [before @ .., end] => format!("{} {last} {end}", before.join(", ")),
    }
}

//! Parsers of option values.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use crate::engine::Retention;
use crate::machine::parse_span;
use crate::store::{BadDatabaseUrl, DatabaseUrl};

const DAY: Duration = Duration::from_hours(24);

/// Parses a duration that is longer than zero.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| format!("{error}; write it like `30s` or `10m`"))?;
    if span.is_zero() {
        Err("it must be longer than zero; write it like `30s` or `10m`".to_owned())
    } else {
        Ok(span)
    }
}

/// Parses an address with a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an IP address and a port are needed, such as 127.0.0.1:8080 or [::1]:8080")
}

/// Parses a boolean.
pub(super) fn boolean(text: &str) -> Result<bool, &'static str> {
    text.parse().map_err(|_| "`true` or `false` is needed")
}

/// Parses how long history is stored.
pub(super) fn retention(text: &str) -> Result<Retention, String> {
    const FORM: &str = "write it like `90d`, or `forever`";
    if text == "forever" {
        return Ok(Retention::Forever);
    }
    let span = parse_span(text).map_err(|error| format!("{error}; {FORM}"))?;
    let is_whole_days = !span.is_zero() && span.as_nanos().is_multiple_of(DAY.as_nanos());
    if is_whole_days { Ok(Retention::For(span)) } else { Err(format!("whole days are needed; {FORM}")) }
}

/// Parses a whole number that is not less than `min`.
pub(in crate::cli) fn number_from<N: FromStr + PartialOrd + Display + Copy>(
    text: &str,
    min: N,
) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| *number >= min);
    number.ok_or_else(|| format!("a whole number is needed, {min} or more"))
}

/// Parses a whole number in a range.
pub(in crate::cli) fn number_between<N: FromStr + PartialOrd + Display + Copy>(
    text: &str,
    min: N,
    max: N,
) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| (&min..=&max).contains(&number));
    number.ok_or_else(|| format!("a whole number from {min} to {max} is needed"))
}

/// Parses the URL of a database; an error shows no password.
pub(super) fn database_url(text: &str) -> Result<DatabaseUrl, BadDatabaseUrl> {
    let url = DatabaseUrl::from(text.to_owned());
    url.parse().map(|_| url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_stored_for_whole_days_or_forever() {
        assert_eq!(retention("90d"), Ok(Retention::For(90 * DAY)));
        assert_eq!(retention("48h"), Ok(Retention::For(2 * DAY)));
        assert_eq!(retention("forever"), Ok(Retention::Forever));
        for bad in ["0d", "12h", "1d 1s", "3M", "9", ""] {
            assert!(retention(bad).is_err(), "{bad}");
        }
    }
}

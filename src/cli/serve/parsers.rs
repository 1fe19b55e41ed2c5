//! Parsers of option values.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use crate::machine::parse_span;
use crate::store::{BadDatabaseUrl, DatabaseUrl};

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

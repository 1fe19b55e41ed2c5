//! Values of options.

use std::net::SocketAddr;
use std::time::Duration;

use crate::machine::parse_span;

/// Reads a span that is not empty.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| format!("{error}; say `30s` or `10m`"))?;
    if span.is_zero() {
        Err("it must be longer than nothing; say `30s` or `10m`".to_owned())
    } else {
        Ok(span)
    }
}

/// Reads an address with a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an IP address and a port are needed, such as 127.0.0.1:8080 or [::1]:8080")
}

//! Spans of time in settings: `30s`, `500ms`, `1h 30m`; not zero. For `#[serde(with = "span")]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

use crate::formatting;
use crate::machine::parse_span;

/// Writes a span.
///
/// # Errors
///
/// The error of the serializer.
pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&formatting::duration(*span))
}

/// Reads a span.
///
/// # Errors
///
/// An error that says what is wrong with the text, and the correct form.
pub fn deserialize<'de, D: Deserializer<'de>>(value: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(value)?;
    let wrong = |what: &str| {
        let form = "write it as `30s` or `500ms`";
        serde::de::Error::custom(format!("invalid time `{text}`: {what}; {form}"))
    };
    match parse_span(&text) {
        Ok(span) if span.is_zero() => Err(wrong("it is zero")),
        Ok(span) => Ok(span),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

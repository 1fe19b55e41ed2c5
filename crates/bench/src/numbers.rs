//! Counts and spans as floating-point numbers.

use std::time::Duration;

/// Converts a count for arithmetic.
#[must_use]
pub(crate) fn float(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let float = count as f64;
    float
}

/// Converts a counter of the database or the system for arithmetic; negative values count as zero.
#[must_use]
pub(crate) fn counted(count: i64) -> f64 {
    float(usize::try_from(count).unwrap_or_default())
}

/// Converts a span to milliseconds.
#[must_use]
pub(crate) fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

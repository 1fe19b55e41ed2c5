//! Numbers of the report.

pub(super) fn seconds(span_ms: Option<u64>) -> f64 {
    ratio(span_ms.unwrap_or(0), 1000)
}

/// `part` divided by `whole`; 0 where `whole` is 0.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "reported numbers have far fewer digits than 2^52")]
    let (part, whole) = (part as f64, whole as f64);
    if whole > 0.0 { part / whole } else { 0.0 }
}

//! Counting by StateService's rule: one is added to a number until it equals another one.

use serde_json::Number;

use machine::source_text::{FaultCollector, SourceContent, SourceNode};

/// Maximum number of additions to a fraction.
pub(super) const MAX_ADDITIONS: u64 = 100_000;
/// Maximum value of a counter.
const MAX_COUNT: u64 = i64::MAX as u64;

/// Reads a number; as in Python, a boolean is 0 or 1.
pub(super) fn number(node: &SourceNode, faults: &mut FaultCollector) -> Option<Number> {
    match &node.content {
        SourceContent::Number(number) => Some(number.clone()),
        SourceContent::Bool(value) => Some(u8::from(*value).into()),
        SourceContent::Null | SourceContent::Text(_) | SourceContent::List(_) | SourceContent::Map(_) => {
            node.refuse("a number", faults);
            None
        }
    }
}

pub(super) struct CountTooLarge;

/// The number of additions of one after which `from` equals `until`; `None` where it never does.
///
/// The arithmetic is Python's: exact for integers, IEEE 754 otherwise.
pub(super) fn additions_needed(from: &Number, until: &Number) -> Result<Option<u64>, CountTooLarge> {
    let integer = |number: &Number| number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
    if let (Some(from), Some(until)) = (integer(from), integer(until)) {
        // Counters never exceed their maximum.
        return Ok(u64::try_from(until - from).ok().filter(|additions| (1..=MAX_COUNT).contains(additions)));
    }
    let (Some(mut value), Some(until)) = (from.as_f64(), until.as_f64()) else { return Ok(None) };
    let mut added = 0;
    while value < until {
        if added == MAX_ADDITIONS {
            return Err(CountTooLarge);
        }
        (value, added) = (value + 1.0, added + 1);
        #[expect(clippy::float_cmp, reason = "equality is what the original asks for")]
        if value == until {
            return Ok(Some(added));
        }
    }
    Ok(None)
}

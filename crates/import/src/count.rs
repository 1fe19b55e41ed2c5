//! Counting as StateService does: ones are added to a number until it equals another one.

use serde_json::Number;

use machine::source_text::{FaultCollector, SourceContent, SourceNode};

/// How often one is added to a fraction before it is said that this takes too long.
pub(super) const MAX_ADDITIONS: u64 = 100_000;
/// The highest number that a counter comes to.
const MAX_COUNT: u64 = i64::MAX as u64;

/// The number; a truth value counts as 0 or 1, as in Python.
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

/// How many times one has to be added to `from` until it equals `until`: not exceeds it, and in Python's arithmetic, which
/// is exact for integers and that of IEEE 754 otherwise.
pub(super) fn puts_needed(from: &Number, until: &Number) -> Result<Option<u64>, CountTooLarge> {
    let integer = |number: &Number| number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
    if let (Some(from), Some(until)) = (integer(from), integer(until)) {
        // More than fits are never counted.
        return Ok(u64::try_from(until - from).ok().filter(|enough| (1..=MAX_COUNT).contains(enough)));
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

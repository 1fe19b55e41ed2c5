//! Values that the database can store and return unchanged. All data is checked here before it is accepted.
//!
//! PostgreSQL's `jsonb` accepts every JSON value except three kinds: a text or key that contains U+0000, a number with
//! very many digits, and a value nested too deeply for later parsers. It writes numbers without an exponent, so numbers
//! are expanded before they are accepted: decisions use the same text that will be read back.

use std::fmt;

use serde_json::{Number, Value};

/// The maximum nesting depth of lists and objects: with the levels that answers add, it must stay below the limit of
/// parsers (128 levels).
pub const MAX_VALUE_DEPTH: usize = 64;
/// The maximum number of digits of an expanded number, before and after the decimal point each.
///
/// The smallest and the largest IEEE 754 doubles have 324 and 309 digits.
pub const MAX_NUMBER_DIGITS: usize = 350;
/// The maximum total length of all expanded numbers of a value, in bytes: a short exponent makes a long number.
pub const MAX_NUMBERS_BYTES: usize = 64 * 1024;

/// The reason why a value cannot be stored, and the path to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", ValuePath(.path))]
pub struct Unstorable {
    /// The keys and indexes on the path, the outermost last.
    path: Vec<String>,
    problem: &'static str,
}

impl Unstorable {
    fn new(problem: &'static str) -> Self {
        Self { path: Vec::new(), problem }
    }

    fn within(mut self, step: impl Into<String>) -> Self {
        self.path.push(step.into());
        self
    }
}

struct ValuePath<'a>(&'a [String]);

impl fmt::Display for ValuePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().rev().enumerate() {
            let separator = if depth == 0 || step.starts_with('[') { "" } else { "." };
            write!(f, "{separator}{step}")?;
        }
        if self.0.is_empty() { Ok(()) } else { f.write_str(": ") }
    }
}

/// Checks that `value` can be stored and returned unchanged, and expands its numbers.
///
/// # Errors
///
/// [`Unstorable`], with the path, and how to correct it.
pub fn check(value: &mut Value) -> Result<(), Unstorable> {
    walk(value, 0, &mut MAX_NUMBERS_BYTES.clone())
}

/// Expands a number as it is stored: without an exponent, with the digits given.
///
/// # Errors
///
/// [`Unstorable`] if it has too many digits or exceeds the range of doubles, which guards compare with.
pub fn number(number: &Number) -> Result<Number, Unstorable> {
    let text = number.as_str();
    if is_stored_form(text) {
        return Ok(number.clone());
    }
    // Checked for short numbers too: guards compare non-integers as doubles.
    if number.as_f64().is_none_or(|double| !double.is_finite()) {
        return Err(Unstorable::new("this number exceeds double precision; the maximum is 1.797e308"));
    }
    let written = without_exponent(text).ok_or_else(|| {
        Unstorable::new(
            "this number has too many digits; at most 350 are allowed before and after the decimal point",
        )
    })?;
    written.parse().map_err(|_| Unstorable::new("this is not a number"))
}

fn walk(value: &mut Value, depth: usize, bytes_left: &mut usize) -> Result<(), Unstorable> {
    if depth > MAX_VALUE_DEPTH {
        return Err(Unstorable::new(
            "lists and objects are nested too deeply; at most 64 levels are allowed",
        ));
    }
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(given) => {
            *given = number(given)?;
            *bytes_left = bytes_left.checked_sub(given.as_str().len()).ok_or_else(|| {
                Unstorable::new(
                    "the numbers up to here are too long when expanded; at most 65536 digits are allowed",
                )
            })?;
            Ok(())
        }
        Value::String(text) => text_is_storable(text),
        Value::Array(elements) => elements.iter_mut().enumerate().try_for_each(|(index, element)| {
            walk(element, depth + 1, bytes_left).map_err(|fault| fault.within(format!("[{index}]")))
        }),
        Value::Object(members) => members.iter_mut().try_for_each(|(key, member)| {
            text_is_storable(key)?;
            walk(member, depth + 1, bytes_left).map_err(|fault| fault.within(key.as_str()))
        }),
    }
}

/// Checks that a text can be stored.
///
/// # Errors
///
/// [`Unstorable`] if it contains the character U+0000 (Source: PostgreSQL manual, 8.14).
pub fn text_is_storable(text: &str) -> Result<(), Unstorable> {
    if text.contains('\0') {
        return Err(Unstorable::new("a text contains the character U+0000, which cannot be stored"));
    }
    Ok(())
}

/// Whether a number is short and already in its stored form, as nearly all are.
fn is_stored_form(text: &str) -> bool {
    text.len() <= 40 && !text.starts_with("-0") && text.bytes().all(|byte| !matches!(byte, b'e' | b'E'))
}

/// Moves the decimal point of a JSON number by its exponent; `None` if that makes too many digits.
fn without_exponent(text: &str) -> Option<String> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let is_zero = digits.bytes().all(|digit| digit == b'0');
    // The exponent of a zero is irrelevant; any other exponent is bounded by the range of doubles.
    let exponent: i64 = if is_zero { 0 } else { exponent.parse().ok()? };
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let length = i64::try_from(digits.len()).ok()?;
    let max_digits = i64::try_from(MAX_NUMBER_DIGITS).ok()?;
    if point > max_digits || length.checked_sub(point)? > max_digits {
        return None;
    }
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or_default());
    let (before, after) = if point <= 0 {
        (String::new(), format!("{}{digits}", zeros(-point)))
    } else if point >= length {
        (format!("{digits}{}", zeros(point - length)), String::new())
    } else {
        let (before, after) = digits.split_at(usize::try_from(point).ok()?);
        (before.to_owned(), after.to_owned())
    };
    let before = before.trim_start_matches('0');
    let before = if before.is_empty() { "0" } else { before };
    let sign = if is_zero { "" } else { sign };
    Some(if after.is_empty() { format!("{sign}{before}") } else { format!("{sign}{before}.{after}") })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn stored(text: &str) -> Result<String, String> {
        let mut value = read(text);
        check(&mut value).map(|()| value.to_string()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn numbers_are_expanded_without_an_exponent_and_without_losing_digits() {
        for (given, kept) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0.0"),
            ("0e99999999999999999999", "0"),
            ("1.50", "1.50"),
            ("1e2", "100"),
            ("1.50e1", "15.0"),
            ("-1.5E-3", "-0.0015"),
            ("12.5e+1", "125"),
            ("0.00012e2", "0.012"),
            ("9007199254740993", "9007199254740993"),
            ("18446744073709551616", "18446744073709551616"),
            (
                "0.1000000000000000055511151231257827021181583404541015625",
                "0.1000000000000000055511151231257827021181583404541015625",
            ),
        ] {
            assert_eq!(stored(given).unwrap(), kept, "{given}");
        }
        assert_eq!(stored("1.7976931348623157e308").unwrap().len(), 309);
        assert_eq!(stored("5e-324").unwrap().len(), 326);
    }

    #[test]
    fn values_that_cannot_be_stored_or_compared_are_refused_with_their_path() {
        for (given, expected) in [
            (r#"{"a":[1,{"b":1e309}]}"#, "a[1].b: this number exceeds double precision"),
            (r#"{"a":-1e99999999999999999999}"#, "a: this number exceeds"),
            (r#"{"a":1e-351}"#, "a: this number has too many digits"),
            (r#"{"a":1e-99999999999999999999}"#, "a: this number has too many digits"),
            (r#"{"a":"\u0000"}"#, "a: a text contains the character U+0000"),
            (r#"{"a":{"\u0000":1}}"#, "a: a text contains the character U+0000"),
        ] {
            let fault = stored(given).unwrap_err();
            assert!(fault.starts_with(expected), "{given}: {fault}");
        }
        let digits = "1".repeat(350);
        assert!(stored(&format!("0.{digits}")).is_ok());
        assert!(stored(&format!("0.{digits}1")).is_err());
    }

    #[test]
    fn short_exponents_do_not_make_a_small_body_large() {
        let of = |count: usize| format!("[{}]", vec!["1e308"; count].join(","));
        let fit = 64 * 1024 / 309;
        assert!(stored(&of(fit)).is_ok());
        let fault = stored(&of(fit + 1)).unwrap_err();
        assert!(fault.starts_with(&format!("[{fit}]: the numbers up to here are too long")), "{fault}");
    }

    #[test]
    fn the_nesting_of_values_is_limited() {
        let of = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(stored(&of(64)).is_ok());
        let fault = stored(&of(65)).unwrap_err();
        assert!(fault.contains("nested too deeply"), "{fault}");
    }

    proptest! {
        #[test]
        fn expansion_changes_no_number(mantissa in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?", exponent in -320i32..288) {
            let text = format!("{mantissa}e{exponent}");
            let given: Number = text.parse().unwrap();
            let kept = number(&given).unwrap();
            prop_assert_eq!(given.as_f64().unwrap().abs().to_bits(), kept.as_f64().unwrap().abs().to_bits());
            prop_assert!(!kept.as_str().contains(['e', 'E']));
            prop_assert_eq!(&number(&kept).unwrap(), &kept);
        }

        #[test]
        fn every_double_can_be_stored(double in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            let mut value = json!(double);
            check(&mut value).unwrap();
            prop_assert_eq!(value.as_f64().unwrap().to_bits(), double.to_bits());
        }
    }
}

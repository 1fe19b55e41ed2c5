//! Time spans as users write them: `500ms`, `60s`, `5m`, `1h 30m`, `90d`.
//!
//! All parsers of spans use [`parse_span`], so that a span means the same in definitions, URLs, options and settings.

use std::time::Duration;

use humantime::DurationError;

/// Says why a text is not a time span, and how to correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpan {
    /// `M` means months, usually written for minutes.
    #[error("`M` is months; minutes are `m`")]
    Months,
    /// An unknown unit.
    #[error("there is no unit `{0}`; units are `ms`, `s`, `m`, `h`, `d` and `w`")]
    Unit(String),
    /// A number without a unit.
    #[error("a unit is missing")]
    NoUnit,
    /// The span is too large.
    #[error("the number is too large")]
    TooLarge,
    /// Any other error.
    #[error("that is not numbers with units")]
    Form,
}

/// Parses a span. The unit `M` (months) is refused, because it is usually written for minutes.
///
/// # Errors
///
/// [`BadSpan`], which says how to correct it.
pub fn parse_span(text: &str) -> Result<Duration, BadSpan> {
    if units(text).any(|unit| unit == "M") {
        return Err(BadSpan::Months);
    }
    humantime::parse_duration(text).map_err(|error| match error {
        DurationError::UnknownUnit { unit, .. } if unit.is_empty() => BadSpan::NoUnit,
        DurationError::UnknownUnit { unit, .. } => BadSpan::Unit(unit.chars().take(40).collect()),
        DurationError::NumberOverflow => BadSpan::TooLarge,
        DurationError::InvalidCharacter(_) | DurationError::NumberExpected(_) | DurationError::Empty => {
            BadSpan::Form
        }
    })
}

/// Whether a span is written in months or years, whose lengths vary.
pub(super) fn is_in_calendar_units(text: &str) -> bool {
    units(text).any(|unit| matches!(unit, "month" | "months" | "y" | "yr" | "year" | "years"))
}

/// Returns the units in a span's text.
fn units(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_parsed_and_other_texts_are_refused_with_a_suggestion() {
        let seconds = |text| parse_span(text).map(|span| span.as_secs());
        assert_eq!(
            [seconds("60s"), seconds("5m"), seconds("1h 30m"), seconds("2w")],
            [Ok(60), Ok(300), Ok(5400), Ok(1_209_600)]
        );
        assert_eq!(parse_span("500ms"), Ok(Duration::from_millis(500)));
        for (text, expected) in [
            ("5M", "`M` is months; minutes are `m`"),
            ("1h 5M", "`M` is months; minutes are `m`"),
            ("5 fortnights", "there is no unit `fortnights`; units are `ms`, `s`, `m`, `h`, `d` and `w`"),
            ("5", "a unit is missing"),
            ("", "that is not numbers with units"),
            ("s", "that is not numbers with units"),
            ("99999999999999999999s", "the number is too large"),
        ] {
            assert_eq!(parse_span(text).unwrap_err().to_string(), expected, "{text}");
        }
        for (text, is_so) in
            [("1y", true), ("2months", true), ("1 year 2d", true), ("5m", false), ("1h 30min", false)]
        {
            assert_eq!(is_in_calendar_units(text), is_so, "{text}");
        }
    }
}

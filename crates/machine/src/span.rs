//! Spans as people write them: `500ms`, `60s`, `5m`, `1h 30m`, `90d`.
//!
//! Everybody who reads one uses [`parse_span`], so that a span means the same in definitions, URLs, options and settings.

use std::time::Duration;

use humantime::DurationError;

/// Says why a text is not a span, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpan {
    /// A month where minutes are meant, mostly.
    #[error("`M` is months; minutes are `m`")]
    Months,
    /// A unit that there is not.
    #[error("there is no unit `{0}`; units are `ms`, `s`, `m`, `h`, `d` and `w`")]
    Unit(String),
    /// A number without a unit.
    #[error("a unit is missing")]
    NoUnit,
    /// More than can be counted.
    #[error("the number is too large")]
    TooLarge,
    /// Anything else.
    #[error("that is not numbers with units")]
    Form,
}

/// Reads a span. The letter `M`, which stands for months, is refused: whoever writes it means minutes.
///
/// # Errors
///
/// [`BadSpan`] with what would be right.
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

/// Whether a span is written in months or years, whose lengths are not those of any month or year.
pub(super) fn is_in_calendar_units(text: &str) -> bool {
    units(text).any(|unit| matches!(unit, "month" | "months" | "y" | "yr" | "year" | "years"))
}

/// The units of a span's text.
fn units(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_what_is_none_is_refused_with_what_would_be_right() {
        let seconds = |text| parse_span(text).map(|span| span.as_secs());
        assert_eq!(
            [seconds("60s"), seconds("5m"), seconds("1h 30m"), seconds("2w")],
            [Ok(60), Ok(300), Ok(5400), Ok(1_209_600)]
        );
        assert_eq!(parse_span("500ms"), Ok(Duration::from_millis(500)));
        for (text, told) in [
            ("5M", "`M` is months; minutes are `m`"),
            ("1h 5M", "`M` is months; minutes are `m`"),
            ("5 fortnights", "there is no unit `fortnights`; units are `ms`, `s`, `m`, `h`, `d` and `w`"),
            ("5", "a unit is missing"),
            ("", "that is not numbers with units"),
            ("s", "that is not numbers with units"),
            ("99999999999999999999s", "the number is too large"),
        ] {
            assert_eq!(parse_span(text).unwrap_err().to_string(), told, "{text}");
        }
        for (text, is_so) in
            [("1y", true), ("2months", true), ("1 year 2d", true), ("5m", false), ("1h 30min", false)]
        {
            assert_eq!(is_in_calendar_units(text), is_so, "{text}");
        }
    }
}

//! Currents as texts, such as `16A` and `500mA`.

/// The largest current, in milliampere.
const MAX_MA: f64 = 1_000_000_000.0;

/// Parses a current; returns it in milliampere.
///
/// # Errors
///
/// What is wrong with it, with the right form.
pub fn parse_current(text: &str) -> Result<u32, String> {
    let bad = || format!("`{text}` is not a current; write it like `16A` or `500mA`");
    let text = text.trim();
    let (number, ma) = match text.strip_suffix("mA") {
        Some(number) => (number, 1.0),
        None => (text.strip_suffix('A').ok_or_else(bad)?, 1000.0),
    };
    let is_plain = |number: &str| number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let number: f64 = Some(number.trim())
        .filter(|number| is_plain(number))
        .and_then(|number| number.parse().ok())
        .ok_or_else(bad)?;
    milliampere(number * ma)
}

/// Converts a current in ampere to milliampere.
///
/// # Errors
///
/// The range, where it is outside.
pub fn from_ampere(ampere: f64) -> Result<u32, String> {
    milliampere(ampere * 1000.0)
}

fn milliampere(ma: f64) -> Result<u32, String> {
    if !(0.0..=MAX_MA).contains(&ma) {
        return Err("a current is 0 to 1000000 A".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range above")]
    Ok(ma.round() as u32)
}

/// Formats a current.
#[must_use]
pub fn format_current(ma: u32) -> String {
    if ma.is_multiple_of(1000) {
        format!("{}A", ma / 1000)
    } else if ma < 1000 {
        format!("{ma}mA")
    } else {
        let text = format!("{}.{:03}", ma / 1000, ma % 1000);
        format!("{}A", text.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currents_are_parsed_and_formatted() {
        for (text, ma, formatted) in [
            ("16A", 16_000, "16A"),
            ("500mA", 500, "500mA"),
            ("1.25 A", 1250, "1.25A"),
            ("0A", 0, "0A"),
            ("1500mA", 1500, "1.5A"),
        ] {
            assert_eq!(parse_current(text), Ok(ma), "{text}");
            assert_eq!(format_current(ma), formatted);
        }
        for bad in ["16", "A", "-1A", "1e3A", "infA", "16 amp", ""] {
            assert!(parse_current(bad).unwrap_err().contains("`16A`"), "{bad}");
        }
        assert!(parse_current("1000001A").unwrap_err().contains("1000000 A"));
        assert!(from_ampere(f64::NAN).is_err() && from_ampere(-0.1).is_err());
        assert_eq!(from_ampere(2.5), Ok(2500));
    }
}

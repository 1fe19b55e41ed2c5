//! Errors as text, with what caused them.

use std::error::Error;
use std::fmt;

/// Writes an error and its causes in one line: `cannot write the row: database error: connection refused`.
///
/// A cause is left out where the text before it says the same. Log formats write an error without its causes.
pub fn with_causes(error: &dyn Error) -> impl fmt::Display {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// Removes the numbers of the system's errors, which people do not need, as in `Permission denied (os error 13)`.
#[must_use]
pub fn without_error_numbers(text: &str) -> String {
    let mut pieces = text.split(" (os error ");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |shown, piece| {
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(')');
        shown + &rest.map_or_else(|| format!(" (os error {piece}"), str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(&'static str, io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn causes_follow_and_are_not_said_twice() {
        let error = Outer("cannot read", io::Error::other("the disk is gone"));
        assert_eq!(with_causes(&error).to_string(), "cannot read: the disk is gone");
        let error = Outer("cannot read: the disk is gone", io::Error::other("the disk is gone"));
        assert_eq!(with_causes(&error).to_string(), "cannot read: the disk is gone");
    }

    #[test]
    fn the_numbers_of_the_systems_errors_are_not_shown() {
        for (text, shown) in [
            ("a: Permission denied (os error 13)", "a: Permission denied"),
            ("x (os error 2): y (os error 111), z", "x: y, z"),
            ("x (os error two)", "x (os error two)"),
        ] {
            assert_eq!(without_error_numbers(text), shown);
        }
    }
}

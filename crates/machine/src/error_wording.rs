//! Library messages, reworded for users.

/// Phrases of libraries, and their replacements.
const LIBRARY_MESSAGES: [(&str, &str); 23] = [
    ("invalid digit found in string", "this is not a whole number"),
    ("cannot parse integer from empty string", "a whole number is missing"),
    ("number too large to fit in target type", "the number is too large"),
    ("number too small to fit in target type", "the number is too small"),
    ("invalid float literal", "this is not a number"),
    ("cannot parse float from empty string", "a number is missing"),
    ("provided string was not `true` or `false`", "this is neither `true` nor `false`"),
    ("invalid type: sequence", "invalid type: list"),
    ("invalid type: map", "invalid type: object"),
    ("invalid type: unit value", "invalid type: nothing"),
    ("expected a sequence", "expected a list"),
    ("expected a map", "expected an object"),
    ("expected unit", "expected nothing"),
    ("expected i64", "expected a whole number"),
    ("expected i32", "expected a whole number"),
    ("expected u64", "expected a whole number, 0 or more"),
    ("expected u32", "expected a whole number, 0 or more"),
    ("expected u16", "expected a whole number, 0 to 65535"),
    ("expected u8", "expected a whole number, 0 to 255"),
    ("expected usize", "expected a whole number, 0 or more"),
    ("expected f64", "expected a number"),
    ("premature end of input", "it ends too early"),
    ("input contains invalid characters", "this is not a time such as 2026-01-01T00:00:00Z"),
];

/// Rewords a library's message about a refused text: JSON names replace the names of Rust types.
#[must_use]
pub fn reword_library_error(message: &str) -> String {
    LIBRARY_MESSAGES.iter().fold(message.to_owned(), |message, (from, to)| {
        if message.contains(from) { message.replace(from, to) } else { message }
    })
}

#[cfg(test)]
mod tests {
    use super::reword_library_error;

    #[test]
    fn messages_do_not_contain_the_names_of_types() {
        fn error<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> String {
            reword_library_error(&text.parse::<T>().err().map(|error| error.to_string()).unwrap())
        }
        fn json<T: serde::de::DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
            reword_library_error(&serde_json::from_str::<T>(text).unwrap_err().to_string())
        }
        assert_eq!(error::<u32>("x"), "this is not a whole number");
        assert_eq!(error::<u32>(""), "a whole number is missing");
        assert_eq!(error::<u8>("256"), "the number is too large");
        assert_eq!(error::<i8>("-999"), "the number is too small");
        assert_eq!(error::<f64>("x"), "this is not a number");
        assert_eq!(error::<bool>("x"), "this is neither `true` nor `false`");
        assert!(
            json::<Vec<u8>>("{}").starts_with("invalid type: object, expected a list"),
            "{}",
            json::<Vec<u8>>("{}")
        );
        assert!(json::<u32>("\"x\"").ends_with("expected a whole number, 0 or more at line 1 column 3"));
        let map = json::<std::collections::BTreeMap<String, String>>("[]");
        assert!(map.starts_with("invalid type: list, expected an object"), "{map}");
    }
}

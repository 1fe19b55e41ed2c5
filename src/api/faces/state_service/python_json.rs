//! JSON with exactly the bytes that Python writes.

use std::fmt::Write as _;

/// Writes `{"state": [...]}` with the bytes that Python writes: a space after each comma and colon, ASCII only.
/// Source: Python's `json.dumps`, "If `ensure_ascii` is true (the default), the output is guaranteed to have all incoming
/// non-ASCII and non-printable characters escaped".
pub(super) fn python_json(states: &[String]) -> String {
    let mut text = r#"{"state": ["#.to_owned();
    for (index, state) in states.iter().enumerate() {
        text.push_str(if index == 0 { "\"" } else { ", \"" });
        for c in state.chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                ' '..='~' => text.push(c),
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing to a string cannot fail.
                        let _ = write!(text, "\\u{unit:04x}");
                    }
                }
            }
        }
        text.push('"');
    }
    text.push_str("]}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_written_as_python_writes_them() {
        let written = |states: &[&str]| {
            python_json(&states.iter().map(|state| (*state).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(written(&[]), r#"{"state": []}"#);
        assert_eq!(written(&["green", "red"]), r#"{"state": ["green", "red"]}"#);
        assert_eq!(
            written(&["\u{e9}tat \u{1f600}", "a\"\\\n\t\r\u{8}\u{c}\u{1}\u{7f}/"]),
            r#"{"state": ["\u00e9tat \ud83d\ude00", "a\"\\\n\t\r\b\f\u0001\u007f/"]}"#
        );
    }
}

//! What commands print: results on standard output, complaints on standard error.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;

use crate::machine::reword_library_error;

/// Prints a text; a reader that has gone away is no fault.
///
/// # Errors
///
/// When it cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Says what went wrong and gives the exit code for it.
#[must_use]
pub fn fail(text: &str) -> ExitCode {
    complain(text);
    ExitCode::FAILURE
}

/// Says what went wrong.
pub fn complain(text: &str) {
    // Where even this cannot be written there is nobody left to tell.
    let _ = writeln!(io::stderr(), "lifeguard: {}", without_passwords(&shown(text)));
}

/// An error with all its causes, each said once.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Says what went wrong in a text that has its own beginning and end.
pub(super) fn complain_as_it_is(text: &str) {
    let _ = write!(io::stderr(), "{}", without_passwords(&shown(text)));
}

/// Says what the server finds odd about what it was told.
pub(super) fn warn_of(answer: &Value) {
    for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        complain(&format!("warning: {warning}"));
    }
}

/// A text as a terminal may show it: boards and people wrote it, and it must not steer the terminal. Lines stay.
pub(super) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(plain).collect()
}

/// A text without the passwords of the URLs in it, `scheme://user:password@host`: somebody typed one in the wrong place.
fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + "://".len());
        shown.push_str(before);
        // A password may hold what a URL should have escaped: up to the last `@` of the word.
        let end = url.find(char::is_whitespace).unwrap_or(url.len());
        let (word, after) = url.split_at(end);
        match word.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
            Some((user, host)) => shown.extend([user, ":…@", host]),
            None => shown.push_str(word),
        }
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// The most characters of a cell that is one of many; a single thing is shown whole.
const MAX_CELL_CHARS: usize = 60;

/// The beginning of a text that is longer than a cell.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(MAX_CELL_CHARS) {
        None => text.to_owned(),
        Some(_) => text.chars().take(MAX_CELL_CHARS - 1).chain(['…']).collect(),
    }
}

/// Lays rows out in columns as wide as their widest cell; the first row is the heading.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| shown(cell).replace('\n', " ")).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A member of an answer as text; nothing where there is none.
pub(super) fn text(answer: &Value, key: &str) -> String {
    match &answer[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    }
}

/// Takes a JSON object from the command line.
pub(super) fn json_object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("a JSON object is needed".to_owned()),
        Err(error) => Err(reword_library_error(&error.to_string())),
    }
}

/// A row of a table.
pub(super) fn row<const N: usize>(cells: [String; N]) -> Vec<String> {
    cells.into()
}

#[cfg(test)]
mod tests {
    use super::{table, without_passwords};

    #[test]
    fn passwords_of_urls_are_not_shown() {
        for (text, shown) in [
            ("'postgres://ann:pw@h/db' found", "'postgres://ann:…@h/db' found"),
            ("`postgres://ann:p'w@h`", "`postgres://ann:…@h`"),
            ("a postgres://ann:p@w:x@h, b", "a postgres://ann:…@h, b"),
            ("x://:pw@h y://a:@h", "x://:…@h y://a:…@h"),
            ("postgres://ann@h:5432/db", "postgres://ann@h:5432/db"),
            ("tcp://h:1 and a@b", "tcp://h:1 and a@b"),
            ("://", "://"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["NAME", "STATE"], ["b", "Ready"], ["board-12", "New"]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(table(&rows), "NAME      STATE\nb         Ready\nboard-12  New");
    }
}

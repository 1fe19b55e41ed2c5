//! What commands print: results on standard output, errors and warnings on standard error.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use serde_json::Value;
use serde_json::error::Category;

use crate::machine::reword_library_error;

/// Prints a text on standard output. A closed pipe is no error.
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

/// Prints an error, and gives the exit code of a failure.
#[must_use]
pub fn fail(text: &str) -> ExitCode {
    complain(text);
    ExitCode::FAILURE
}

/// Prints an error or a warning on standard error.
pub fn complain(text: &str) {
    // If standard error cannot be written, the message is lost.
    let _ = writeln!(io::stderr(), "lifeguard: {}", complaint(text));
}

/// An error with all its causes; a cause that the text already contains is not repeated.
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

/// Prints each line of a text as an error of its own.
pub(super) fn complain_in_lines(text: &str) {
    text.lines().for_each(complain);
}

/// Prints the text of an error as it is, without the program's name before it.
pub(super) fn complain_verbatim(text: &str) {
    let _ = write!(io::stderr(), "{}", complaint(text));
}

/// Prints the warnings of a server's answer.
pub(super) fn warn_of(answer: &Value) {
    for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        complain(&format!("warning: {warning}"));
    }
}

/// Replaces control characters, except line ends, so that a text of a board or a person cannot control the terminal.
pub(super) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(plain).collect()
}

/// The text of an error, without what the terminal must not see and people do not need.
fn complaint(text: &str) -> String {
    formatting::without_error_numbers(&without_passwords(&shown(text)))
}

/// Hides the passwords of URLs in a text, `scheme://user:password@host`.
fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + "://".len());
        shown.push_str(before);
        // A password may contain characters that a URL should have escaped, so it ends at the last `@` of the word.
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

/// The maximum length of a table cell on a terminal, in characters.
const MAX_CELL_CHARS: usize = 60;

/// Shortens a text to the length of a table cell where standard output is a terminal: other programs get all of it.
pub(super) fn clipped(text: &str) -> String {
    if !io::stdout().is_terminal() {
        return text.to_owned();
    }
    match text.char_indices().nth(MAX_CELL_CHARS) {
        None => text.to_owned(),
        Some(_) => text.chars().take(MAX_CELL_CHARS - 1).chain(['…']).collect(),
    }
}

/// Lays rows out in columns that are as wide as their widest cells. The first row is the heading.
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

/// A member of an answer as text; empty where there is none.
pub(super) fn text(answer: &Value, key: &str) -> String {
    match &answer[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    }
}

/// Parses a JSON object from the command line.
pub(super) fn json_object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("a JSON object is needed".to_owned()),
        Err(error) => Err(format!("a JSON object is needed: {}", describe_json_error(&error))),
    }
}

/// Describes why a text is not the JSON that is needed.
pub(super) fn describe_json_error(error: &serde_json::Error) -> String {
    let reason = match error.classify() {
        Category::Data => return reword_library_error(&error.to_string()),
        Category::Eof => "it ends too early",
        Category::Syntax | Category::Io => "this is not JSON",
    };
    format!("{reason}, at line {} column {}", error.line(), error.column())
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

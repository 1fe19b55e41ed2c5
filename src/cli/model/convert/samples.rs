//! Rows of numbers from a file: JSON, or lines with commas.

use std::error::Error;
use std::path::Path;

use crate::cli::output::describe_json_error;
use crate::cli::text_file::read_text_file;

/// Reads the rows in `path`: a JSON list of lists of numbers, or CSV, whose first line may name the columns.
///
/// # Errors
///
/// The fault, with the file and the position.
pub(super) fn read(path: &Path) -> Result<Vec<Vec<f64>>, Box<dyn Error>> {
    let text = read_text_file(path)?;
    let rows = parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    if rows.is_empty() {
        return Err(format!("{}: the file has no rows", path.display()).into());
    }
    Ok(rows)
}

fn parse(text: &str) -> Result<Vec<Vec<f64>>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|error| describe_json_error(&error))
            .map_err(|error| format!("a list of rows is needed, such as [[1, 2.5], [3, 4]]: {error}"));
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut rows = Vec::new();
    for (position, (index, line)) in lines.enumerate() {
        let fields: Vec<&str> = line.split(',').map(|field| field.trim().trim_matches('"')).collect();
        let is_heading = position == 0 && fields.iter().all(|field| field.parse::<f64>().is_err());
        if !is_heading {
            rows.push(row(&fields).map_err(|error| format!("line {}, {error}", index + 1))?);
        }
    }
    Ok(rows)
}

fn row(fields: &[&str]) -> Result<Vec<f64>, String> {
    let number = |(index, field): (usize, &&str)| {
        let number = field.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| format!("column {}: {field:?} is not a number", index + 1))
    };
    fields.iter().enumerate().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn rows_are_read_from_json_and_from_csv_with_and_without_a_heading() {
        let rows = vec![vec![1.0, -2.5], vec![3e4, 0.0]];
        for text in [
            "[[1, -2.5], [3e4, 0]]",
            "1,-2.5\n3e4,0\n",
            "\u{feff}\"temperature\", \"load\"\r\n1, -2.5\r\n\r\n3e4,0",
        ] {
            assert_eq!(parse(text).unwrap(), rows, "{text}");
        }
        assert_eq!(parse("a,b\n").unwrap(), Vec::<Vec<f64>>::new());
    }

    #[test]
    fn a_value_that_is_not_a_number_is_reported_with_its_position() {
        for (text, message) in [
            ("1,2\n3,x", "line 2, column 2: \"x\" is not a number"),
            ("a,b\nc,d", "line 2, column 1: \"c\" is not a number"),
            ("1,", "line 1, column 2: \"\" is not a number"),
            ("1,nan", "line 1, column 2: \"nan\" is not a number"),
            ("1,inf", "line 1, column 2: \"inf\" is not a number"),
            ("[[1, \"2\"]]", "expected a number at line 1 column 8"),
            ("[1]", "expected a list at line 1 column 2"),
            ("[[1, 2", "it ends too early, at line 1 column 6"),
            ("[[1, x]]", "this is not JSON, at line 1 column 6"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.ends_with(message), "{text}: {error}");
        }
    }
}

//! The values of a request: rows of numbers.

use serde_json::Value;

use super::ModelError;
use crate::formatting::count;

/// The largest number up to which 64-bit floating point represents every whole number exactly.
const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// The maximum number of rows in a request, or of numbers in a plain list.
const MAX_ROWS: usize = 100_000;

/// Numbers for a model: rows, or one plain list.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    numbers: Vec<f64>,
    layout: ValueLayout,
}

/// The layout of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueLayout {
    /// `[1, 2]`
    List,
    /// `[[1, 2], [3, 4]]`, with this number of values in each row.
    Rows(usize),
}

impl Values {
    /// Reads a list of numbers, or a list of rows of equal length. Numbers may be texts, such as `"500"`, and
    /// `true` and `false` are 1 and 0.
    ///
    /// # Errors
    ///
    /// [`ModelError::Values`] with the fault, its row and its column, both from 1.
    pub fn read(value: &Value) -> Result<Self, ModelError> {
        Self::parse(value).map_err(ModelError::Values)
    }

    fn parse(value: &Value) -> Result<Self, String> {
        let Value::Array(rows) = value else {
            return Err(format!("a list of rows is needed, such as [[500, 0]], not {}", kind(value)));
        };
        let Some(first) = rows.first() else {
            return Err("the list is empty; at least one row of numbers is needed".to_owned());
        };
        if rows.len() > MAX_ROWS {
            return Err(format!("the list has {} items, and the maximum is {MAX_ROWS}", rows.len()));
        }
        let Value::Array(row) = first else {
            let numbers = rows.iter().enumerate().map(|(index, value)| {
                number(value).map_err(|fault| format!("number {}: {fault}", index + 1))
            });
            return Ok(Self { numbers: numbers.collect::<Result<_, _>>()?, layout: ValueLayout::List });
        };
        let width = row.len();
        let mut numbers = Vec::with_capacity(rows.len().saturating_mul(width));
        for (index, row) in rows.iter().enumerate() {
            let at = index + 1;
            let Value::Array(row) = row else {
                return Err(format!("row {at} is {}, not a list of numbers", kind(row)));
            };
            if row.len() != width {
                return Err(format!(
                    "row {at} has {}, and row 1 has {width}; all must have the same number",
                    count(row.len(), "number")
                ));
            }
            for (index, value) in row.iter().enumerate() {
                let number = number(value);
                numbers.push(number.map_err(|fault| format!("row {at}, column {}: {fault}", index + 1))?);
            }
        }
        Ok(Self { numbers, layout: ValueLayout::Rows(width) })
    }

    /// Zeros in the given layout: `count` rows, or `count` numbers.
    pub(super) fn zeros(count: usize, layout: ValueLayout) -> Self {
        let width = match layout {
            ValueLayout::List => 1,
            ValueLayout::Rows(width) => width,
        };
        Self { numbers: vec![0.0; count * width], layout }
    }

    /// The layout.
    pub(super) fn layout(&self) -> ValueLayout {
        self.layout
    }

    /// The number of rows, or of numbers in a plain list.
    pub(super) fn len(&self) -> usize {
        match self.layout {
            ValueLayout::List => self.numbers.len(),
            ValueLayout::Rows(width) => self.numbers.len().checked_div(width).unwrap_or_default(),
        }
    }

    /// The numbers, row by row.
    pub(super) fn doubles(&self) -> &[f64] {
        &self.numbers
    }

    /// The numbers as 32-bit floating point.
    ///
    /// # Errors
    ///
    /// The first number that is too large.
    pub(super) fn singles(&self) -> Result<Vec<f32>, String> {
        self.each(|number| {
            #[expect(clippy::cast_possible_truncation, reason = "rounded, as numpy does; checked below")]
            let single = number as f32;
            single.is_finite().then_some(single).ok_or("is too large for this model's 32-bit numbers")
        })
    }

    /// The numbers as 64-bit integers.
    ///
    /// # Errors
    ///
    /// The first number that is not whole, or beyond 2⁵³.
    pub(super) fn integers(&self) -> Result<Vec<i64>, String> {
        self.each(|number| {
            let is_whole = number.fract() == 0.0 && number.abs() <= MAX_EXACT_INTEGER;
            #[expect(clippy::cast_possible_truncation, reason = "whole, and within 2⁵³")]
            let integer = number as i64;
            is_whole.then_some(integer).ok_or("is not a whole number within 2⁵³, which this model takes")
        })
    }

    fn each<T>(&self, convert: impl Fn(f64) -> Result<T, &'static str>) -> Result<Vec<T>, String> {
        let converted = self.numbers.iter().enumerate().map(|(index, number)| {
            convert(*number).map_err(|fault| format!("{}: {number:?} {fault}", self.position(index)))
        });
        converted.collect()
    }

    fn position(&self, index: usize) -> String {
        match self.layout {
            ValueLayout::List => format!("number {}", index + 1),
            ValueLayout::Rows(width) => {
                let width = width.max(1);
                format!("row {}, column {}", index / width + 1, index % width + 1)
            }
        }
    }
}

/// Reads one number.
fn number(value: &Value) -> Result<f64, String> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(is) => Some(f64::from(u8::from(*is))),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let shown = || match value {
        Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => kind(value).to_owned(),
    };
    match number {
        None => Err(format!("{} is not a number", shown())),
        Some(number) if !number.is_finite() => Err(format!("{} is not a finite number", shown())),
        Some(number) => Ok(number),
    }
}

/// The kind of a JSON value, for messages.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(value: &Value) -> String {
        Values::parse(value).unwrap_err()
    }

    #[test]
    fn rows_and_lists_of_numbers_are_read() {
        let rows = Values::read(&json!([[500, "0"], [" 1e3 ", true]])).unwrap();
        assert_eq!((rows.layout(), rows.len()), (ValueLayout::Rows(2), 2));
        assert_eq!(rows.doubles(), [500.0, 0.0, 1000.0, 1.0]);
        let list = Values::read(&json!([1, 2, 3])).unwrap();
        assert_eq!((list.layout(), list.len()), (ValueLayout::List, 3));
        assert_eq!(Values::read(&json!(vec![[0]; 100_000])).unwrap().len(), 100_000);
        assert_eq!(Values::read(&json!([[]])).unwrap().layout(), ValueLayout::Rows(0));
    }

    #[test]
    fn a_value_that_is_not_a_number_is_reported_with_its_position() {
        let errors = [
            json!(vec![[0]; 100_001]),
            json!("abc"),
            json!(null),
            json!({ "0": 1 }),
            json!([]),
            json!([[1, 2], [3]]),
            json!([[1, 2], 3]),
            json!([1, [2]]),
            json!([[1, 2], [3, "four"]]),
            json!([[1, null]]),
            json!([[1, "inf"]]),
            json!([[1, "NaN"]]),
            json!([1, {}]),
        ]
        .map(|value| error(&value));
        insta::assert_snapshot!(errors.join("\n"), @r#"
        the list has 100001 items, and the maximum is 100000
        a list of rows is needed, such as [[500, 0]], not a text
        a list of rows is needed, such as [[500, 0]], not null
        a list of rows is needed, such as [[500, 0]], not an object
        the list is empty; at least one row of numbers is needed
        row 2 has 1 number, and row 1 has 2; all must have the same number
        row 2 is a number, not a list of numbers
        number 2: a list is not a number
        row 2, column 2: "four" is not a number
        row 1, column 2: null is not a number
        row 1, column 2: "inf" is not a finite number
        row 1, column 2: "NaN" is not a finite number
        number 2: an object is not a number
        "#);
    }

    #[test]
    fn numbers_must_fit_what_the_model_takes() {
        let values = Values::read(&json!([[1, 2], [1e300, 0.5]])).unwrap();
        let errors = [values.singles().unwrap_err(), values.integers().unwrap_err()];
        assert!(errors[0].ends_with("is too large for this model's 32-bit numbers"), "{}", errors[0]);
        assert!(errors[0].starts_with("row 2, column 1: "), "{}", errors[0]);
        assert!(errors[1].starts_with("row 2, column 1: "), "{}", errors[1]);
        let halves = Values::read(&json!([0, 0.5])).unwrap();
        assert_eq!(
            halves.integers().unwrap_err(),
            "number 2: 0.5 is not a whole number within 2⁵³, which this model takes"
        );
        assert_eq!(Values::read(&json!([[3, -4]])).unwrap().integers().unwrap(), [3, -4]);
    }
}

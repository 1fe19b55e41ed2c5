//! The input of a model: one tensor of numbers, made from values.

use std::fmt;

use ort::session::{Session as Runner, SessionInputValue};
use ort::value::{PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};

use super::error::PredictionFailure;
use super::runtime::describe_error;
use super::values::{ValueLayout, Values};
use crate::formatting::count;

/// The number of rows in one run: a model that compares each row with many stored rows takes memory for all of them.
const MAX_ROWS_PER_RUN: usize = 1024;

/// The maximum number of values in a row: no request can have more.
const MAX_ROW_WIDTH: usize = 1024 * 1024;

/// The input of a model: one tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelInput {
    numbers: NumberType,
    /// The required layout of values.
    pub(super) layout: ValueLayout,
    /// The required length of a plain list, if the model declares it.
    pub(super) length: Option<usize>,
}

/// The number type of a model's input.
#[derive(Debug, Clone, Copy)]
enum NumberType {
    Single,
    Double,
    Integer,
}

impl ModelInput {
    /// Reads the input of a model.
    ///
    /// # Errors
    ///
    /// The input of the model, if it is not supported.
    pub(super) fn of(runner: &Runner) -> Result<Self, String> {
        let [input] = runner.inputs() else {
            let inputs = count(runner.inputs().len(), "input");
            return Err(format!("it takes {inputs}; one is needed, a tensor of [N, WIDTH] numbers"));
        };
        let ValueType::Tensor { ty, shape, .. } = input.dtype() else {
            return Err(format!("it takes {}, not a tensor of numbers", input.dtype()));
        };
        let numbers = [
            (TensorElementType::Float32, NumberType::Single),
            (TensorElementType::Float64, NumberType::Double),
            (TensorElementType::Int64, NumberType::Integer),
        ];
        let Some((_, numbers)) = numbers.into_iter().find(|(known, _)| known == ty) else {
            return Err(format!("it takes a tensor of {ty}; float, double and int64 are known here"));
        };
        if let Some(size) =
            shape.iter().find(|size| usize::try_from(**size).is_ok_and(|size| size > MAX_ROW_WIDTH))
        {
            return Err(format!("it takes {size} numbers at a time; no request can have so many"));
        }
        let dimension = |size: i64| usize::try_from(size).ok().filter(|size| *size > 0);
        match shape[..] {
            [length] => Ok(Self { numbers, layout: ValueLayout::List, length: dimension(length) }),
            [-1, width] => {
                let width = dimension(width).ok_or("its input does not say how many numbers a row has")?;
                Ok(Self { numbers, layout: ValueLayout::Rows(width), length: None })
            }
            [rows, _] => Err(format!("it takes {} at a time; any number is needed", count(rows, "row"))),
            _ => {
                Err(format!("it takes a tensor of {}; [N, WIDTH] is needed", count(shape.len(), "dimension")))
            }
        }
    }

    /// Checks the layout of `values`.
    ///
    /// # Errors
    ///
    /// Their layout, and the required one.
    pub(super) fn check(self, values: &Values) -> Result<(), String> {
        match (self.layout, values.layout()) {
            (ValueLayout::Rows(width), ValueLayout::Rows(given)) if width != given => {
                Err(format!("each row has {}, and this model takes {width}", count(given, "number")))
            }
            (ValueLayout::Rows(width), ValueLayout::List) => {
                Err(format!("a list of rows is needed, each a list of {}", count(width, "number")))
            }
            (ValueLayout::List, ValueLayout::Rows(_)) => {
                Err("this model takes one plain list of numbers, not rows".to_owned())
            }
            (ValueLayout::List, ValueLayout::List) => match self.length {
                Some(length) if length != values.len() => {
                    Err(format!("there are {}, and this model takes {length}", count(values.len(), "number")))
                }
                _ => Ok(()),
            },
            (ValueLayout::Rows(_), ValueLayout::Rows(_)) => Ok(()),
        }
    }

    /// Makes the tensors of the input, and runs each.
    ///
    /// # Errors
    ///
    /// [`PredictionFailure::Values`] when a number does not fit, [`PredictionFailure::Model`] with the error of `run`.
    pub(super) fn run_each(
        self,
        values: &Values,
        run: impl FnMut(SessionInputValue<'_>, RowRange) -> Result<(), String>,
    ) -> Result<(), PredictionFailure> {
        match self.numbers {
            NumberType::Single => tensors(&values.singles().map_err(PredictionFailure::Values)?, values, run),
            NumberType::Double => tensors(values.doubles(), values, run),
            NumberType::Integer => {
                tensors(&values.integers().map_err(PredictionFailure::Values)?, values, run)
            }
        }
        .map_err(PredictionFailure::Model)
    }
}

/// Runs `numbers`, converted from `values`, in tensors of at most [`MAX_ROWS_PER_RUN`] rows.
fn tensors<T: PrimitiveTensorElementType + Clone + fmt::Debug + 'static>(
    numbers: &[T],
    values: &Values,
    mut run: impl FnMut(SessionInputValue<'_>, RowRange) -> Result<(), String>,
) -> Result<(), String> {
    let fault = |error: ort::Error| describe_error(&error);
    let ValueLayout::Rows(width) = values.layout() else {
        let tensor = TensorRef::from_array_view(([numbers.len()], numbers)).map_err(fault)?;
        return run(tensor.into(), RowRange { first: 0, rows: None });
    };
    for (index, numbers) in numbers.chunks(width * MAX_ROWS_PER_RUN).enumerate() {
        let rows = numbers.len() / width;
        let tensor = TensorRef::from_array_view(([rows, width], numbers)).map_err(fault)?;
        run(tensor.into(), RowRange { first: index * MAX_ROWS_PER_RUN, rows: Some(rows) })?;
    }
    Ok(())
}

/// The rows of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowRange {
    /// The number of rows in earlier runs.
    pub(super) first: usize,
    /// The number of rows; unknown for a plain list.
    pub(super) rows: Option<usize>,
}

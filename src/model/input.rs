//! What a model takes: one tensor of numbers, and how values become that.

use std::fmt;

use ort::session::{Session as Runner, SessionInputValue};
use ort::value::{PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};

use super::error::PredictionFailure;
use super::runtime::describe_error;
use super::values::{ValueLayout, Values};
use crate::formatting::count;

/// How many rows are run at once: a model that compares each row with many of its own would take memory for all of them.
const MAX_ROWS_PER_RUN: usize = 1024;

/// The most numbers that a row may have: no request can have more.
const MAX_ROW_WIDTH: usize = 1024 * 1024;

/// What a model takes: one tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelInput {
    numbers: NumberType,
    /// How values must lie.
    pub(super) layout: ValueLayout,
    /// How many numbers a plain list must have, where the model says so.
    pub(super) length: Option<usize>,
}

/// The type of the numbers that a model takes.
#[derive(Debug, Clone, Copy)]
enum NumberType {
    Single,
    Double,
    Integer,
}

impl ModelInput {
    /// What this model takes.
    ///
    /// # Errors
    ///
    /// What it takes, if it is something else than we have.
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
        if let Some(many) =
            shape.iter().find(|size| usize::try_from(**size).is_ok_and(|size| size > MAX_ROW_WIDTH))
        {
            return Err(format!("it takes {many} numbers at a time; no request can have so many"));
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

    /// Whether `values` lie as they must.
    ///
    /// # Errors
    ///
    /// How they lie, and how they must.
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

    /// Makes the tensors that the model takes, and runs each.
    ///
    /// # Errors
    ///
    /// [`Failure::Values`] where a number does not fit, [`Failure::ReferenceModel`] with what `run` says.
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

/// Runs `numbers`, which are those of `values`, in tensors of so many rows as may be run at once.
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

/// Which rows are run at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowRange {
    /// How many were run before.
    pub(super) first: usize,
    /// How many; of a plain list, nobody can tell how many things it speaks of.
    pub(super) rows: Option<usize>,
}

//! Converts the labels of a model to the states of its config.

use ort::session::SessionOutputs;
use ort::value::{DynMapValueType, DynValueRef, TensorElementType, ValueType};

use super::input::RowRange;
use crate::formatting::count;

/// The states of the labels in `outputs`, one for each row of `run`.
///
/// # Errors
///
/// The labels, if they are not one for each row, or a label without a state.
pub(super) fn predicted_states(
    outputs: &SessionOutputs<'_>,
    run: RowRange,
    states: &[String],
) -> Result<Vec<String>, String> {
    let labels = outputs.values().next().ok_or("it gave no output")?;
    let predicted = to_states(&labels, run.first, states)?;
    match run.rows {
        Some(rows) if rows != predicted.len() => Err(format!(
            "it gave {} for {}; one for each row is needed",
            count(predicted.len(), "label"),
            count(rows, "row")
        )),
        _ => Ok(predicted),
    }
}

/// The state of each label.
///
/// A whole number is the index of a state, from 0; a negative one counts from the end of the list, as in StateService.
/// `true` and `false` are 1 and 0. A text is the state itself. The first label is that of the row after `first`.
fn to_states(labels: &DynValueRef<'_>, first: usize, states: &[String]) -> Result<Vec<String>, String> {
    let ValueType::Tensor { ty, shape, .. } = labels.dtype() else {
        return Err(format!("it gave {}, not a tensor of labels", labels.dtype()));
    };
    // A single column counts as a list: outlier detectors return that.
    if !matches!(shape[..], [_] | [_, 1]) {
        let shape = &shape[..];
        return Err(format!("it gave labels of the shape {shape:?}; one for each row is needed"));
    }
    if shape.num_elements() == 0 {
        return Ok(Vec::new());
    }
    let fault = |error: ort::Error| error.to_string();
    if *ty == TensorElementType::String {
        let (_, texts) = labels.try_extract_strings().map_err(fault)?;
        texts.into_iter().zip(first..).map(|(text, index)| state_named(index, text, states)).collect()
    } else if *ty == TensorElementType::Bool {
        let (_, labels) = labels.try_extract_tensor::<bool>().map_err(fault)?;
        let labels = labels.iter().map(|label| i64::from(*label));
        labels.zip(first..).map(|(label, index)| state_at(index, label, states)).collect()
    } else {
        let (_, labels) = labels.try_extract_tensor::<i64>().map_err(fault)?;
        let labels = labels.iter().copied();
        labels.zip(first..).map(|(label, index)| state_at(index, label, states)).collect()
    }
}

/// The state at an index of the list.
fn state_at(index: usize, label: i64, states: &[String]) -> Result<String, String> {
    let from_end = |label: i64| states.len().checked_sub(usize::try_from(label.unsigned_abs()).ok()?);
    let index_of_state = if label < 0 { from_end(label) } else { usize::try_from(label).ok() };
    index_of_state.and_then(|index| states.get(index)).cloned().ok_or_else(|| {
        let states = count(states.len(), "state");
        format!("row {}: the model says class {label}, and its config has {states}, from 0", index + 1)
    })
}

/// The maximum number of states in a message.
const MAX_NAMED_STATES: usize = 10;

/// The state of this name.
fn state_named(index: usize, label: String, states: &[String]) -> Result<String, String> {
    if states.contains(&label) {
        return Ok(label);
    }
    let more = if states.len() > MAX_NAMED_STATES { ", …" } else { "" };
    let states =
        states.iter().take(MAX_NAMED_STATES).map(String::as_str).collect::<Vec<_>>().join(", ") + more;
    Err(format!(
        "row {}: the model says {label:?}, which is none of its config's states: {states}",
        index + 1
    ))
}

/// Checks that labels of this type can name states.
///
/// # Errors
///
/// Their type, and what is needed.
pub(super) fn check_labels(output: &ValueType) -> Result<(), String> {
    let known = [TensorElementType::Int64, TensorElementType::Bool, TensorElementType::String];
    match output {
        ValueType::Tensor { ty, .. } if known.contains(ty) => Ok(()),
        ValueType::Tensor { .. }
        | ValueType::Sequence(_)
        | ValueType::Map { .. }
        | ValueType::Optional(_) => Err(format!(
            "its first output is {output}; labels are needed: a tensor of int64, bool or string, one for each row"
        )),
    }
}

/// Checks that the model has as many classes as its config has states.
///
/// # Errors
///
/// The number of classes.
pub(super) fn check_classes(outputs: &SessionOutputs<'_>, states: &[String]) -> Result<(), String> {
    match classes(outputs) {
        Some(found) if found != states.len() => Err(format!(
            "it has {}, and its config has {}",
            count(found, "class"),
            count(states.len(), "state")
        )),
        _ => Ok(()),
    }
}

/// The number of classes, if the model returns a probability or a score for each.
fn classes(outputs: &SessionOutputs<'_>) -> Option<usize> {
    let scores = outputs.values().nth(1)?;
    match scores.dtype() {
        // A single column is an outlier score, not a class.
        ValueType::Tensor { ty: TensorElementType::Float32 | TensorElementType::Float64, shape, .. } => {
            let [_, columns] = shape[..] else { return None };
            usize::try_from(columns).ok().filter(|columns| *columns > 1)
        }
        ValueType::Sequence(item) => {
            let ValueType::Map { key, .. } = &**item else { return None };
            let rows = scores.try_extract_sequence::<DynMapValueType>().ok()?;
            let first = rows.first()?;
            if *key == TensorElementType::String {
                first.try_extract_key_values::<String, f32>().ok().map(|classes| classes.len())
            } else {
                first.try_extract_key_values::<i64, f32>().ok().map(|classes| classes.len())
            }
        }
        ValueType::Tensor { .. } | ValueType::Map { .. } | ValueType::Optional(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_indices_of_states_and_negative_ones_count_from_the_end() {
        let states = ["green", "red", "blue"].map(str::to_owned);
        let state_of = |label| state_at(1, label, &states);
        for (label, state) in [(0, "green"), (2, "blue"), (-1, "blue"), (-3, "green")] {
            assert_eq!(state_of(label).unwrap(), state);
        }
        for label in [3, -4, i64::MAX, i64::MIN] {
            let error = format!("row 2: the model says class {label}, and its config has 3 states, from 0");
            assert_eq!(state_of(label).unwrap_err(), error);
        }
    }

    #[test]
    fn texts_are_states_themselves() {
        let states = ["green", "red"].map(str::to_owned);
        assert_eq!(state_named(0, "red".to_owned(), &states).unwrap(), "red");
        let error = "row 1: the model says \"blue\", which is none of its config's states: green, red";
        assert_eq!(state_named(0, "blue".to_owned(), &states).unwrap_err(), error);
    }
}

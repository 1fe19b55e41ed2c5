//! From the labels that a model gives to the states that its config names.

use ort::value::{DynValueRef, TensorElementType, ValueType};

use super::values::counted;

/// The state that each label stands for.
///
/// A whole number is the place of a state in the list, from 0; a negative one counts from the list's end, as the original
/// has it. `true` and `false` are 1 and 0. A text is a state itself.
///
/// # Errors
///
/// What the labels are, if not that; which label no state stands for.
pub(super) fn to_states(labels: &DynValueRef<'_>, states: &[String]) -> Result<Vec<String>, String> {
    let ValueType::Tensor { ty, shape, .. } = labels.dtype() else {
        return Err(format!("it gave {}, not a tensor of labels", labels.dtype()));
    };
    // One column of labels is a list of them too: outlier detectors give that.
    if !matches!(shape[..], [_] | [_, 1]) {
        let shape = if shape.is_empty() { "one".to_owned() } else { format!("{:?}", &shape[..]) };
        return Err(format!("it gave {shape} for its labels; a list is needed, one label for each row"));
    }
    if shape.num_elements() == 0 {
        return Ok(Vec::new());
    }
    let fault = |error: ort::Error| error.to_string();
    if *ty == TensorElementType::String {
        let (_, texts) = labels.try_extract_strings().map_err(fault)?;
        texts.into_iter().enumerate().map(|(index, text)| named(index, text, states)).collect()
    } else if *ty == TensorElementType::Bool {
        let (_, labels) = labels.try_extract_tensor::<bool>().map_err(fault)?;
        let labels = labels.iter().map(|label| i64::from(*label));
        labels.enumerate().map(|(index, label)| placed(index, label, states)).collect()
    } else {
        let (_, labels) = labels.try_extract_tensor::<i64>().map_err(fault)?;
        let labels = labels.iter().copied();
        labels.enumerate().map(|(index, label)| placed(index, label, states)).collect()
    }
}

/// The state at a place of the list.
fn placed(index: usize, label: i64, states: &[String]) -> Result<String, String> {
    let from_end = |label: i64| states.len().checked_sub(usize::try_from(label.unsigned_abs()).ok()?);
    let place = if label < 0 { from_end(label) } else { usize::try_from(label).ok() };
    place.and_then(|place| states.get(place)).cloned().ok_or_else(|| {
        let states = counted(states.len(), "state");
        format!("row {}: the model says class {label}, and its config has {states}, from 0", index + 1)
    })
}

/// The state of this name.
fn named(index: usize, label: String, states: &[String]) -> Result<String, String> {
    if states.contains(&label) {
        return Ok(label);
    }
    let states = states.join(", ");
    Err(format!(
        "row {}: the model says {label:?}, which is none of its config's states: {states}",
        index + 1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_in_the_list_and_negative_ones_count_from_its_end() {
        let states = ["green", "red", "blue"].map(str::to_owned);
        let placed = |label| placed(1, label, &states);
        for (label, state) in [(0, "green"), (2, "blue"), (-1, "blue"), (-3, "green")] {
            assert_eq!(placed(label).unwrap(), state);
        }
        for label in [3, -4, i64::MAX, i64::MIN] {
            let told = format!("row 2: the model says class {label}, and its config has 3 states, from 0");
            assert_eq!(placed(label).unwrap_err(), told);
        }
    }

    #[test]
    fn texts_are_states_themselves() {
        let states = ["green", "red"].map(str::to_owned);
        assert_eq!(named(0, "red".to_owned(), &states).unwrap(), "red");
        let told = "row 1: the model says \"blue\", which is none of its config's states: green, red";
        assert_eq!(named(0, "blue".to_owned(), &states).unwrap_err(), told);
    }
}

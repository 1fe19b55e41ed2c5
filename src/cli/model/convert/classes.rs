//! The classes of a scikit-learn model, and their order among the states of a config.

use serde_json::Value;

/// The states of a config for a model with these classes: one state for each class, with its name.
///
/// # Errors
///
/// Why no config can have a state for each class.
pub(super) fn states(classes: &[Value]) -> Result<Vec<String>, String> {
    if classes.iter().all(Value::is_string) {
        return classes.iter().map(name).collect();
    }
    let all = classes.iter().map(name).collect::<Result<Vec<_>, _>>()?;
    let mut states = vec![None; all.len()];
    for class in &all {
        let index = class.parse::<i64>().ok().and_then(|class| state_index(class, all.len()));
        let state = index.and_then(|index| states.get_mut(index)).filter(|state| state.is_none());
        *state.ok_or_else(|| unfit_classes(&all))? = Some(class.clone());
    }
    states.into_iter().collect::<Option<_>>().ok_or_else(|| unfit_classes(&all))
}

/// The index of a class among `count` states: from 0, or from the end if it is negative.
fn state_index(class: i64, count: usize) -> Option<usize> {
    let count = i64::try_from(count).ok()?;
    usize::try_from(if class < 0 { class.checked_add(count)? } else { class }).ok()
}

fn unfit_classes(classes: &[String]) -> String {
    format!(
        "its classes are {}; a class is the index of its state in the config, so 0, 1, 2 and so on, or texts, are needed",
        classes.join(", ")
    )
}

/// The name of a class.
///
/// # Errors
///
/// The value, if it is not a class.
pub(super) fn name(class: &Value) -> Result<String, String> {
    let whole = |number: f64| (number.fract() == 0.0).then(|| format!("{number:.0}"));
    let name = match class {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(u8::from(*value).to_string()),
        Value::Number(number) if number.is_i64() => Some(number.to_string()),
        Value::Number(number) => number.as_f64().and_then(whole),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    name.ok_or_else(|| format!("{class} is not a class: a whole number or a text is needed"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn states_of(classes: &Value) -> Result<String, String> {
        states(classes.as_array().unwrap()).map(|states| states.join(" "))
    }

    #[test]
    fn states_are_ordered_by_their_classes() {
        for (classes, named) in [
            (json!([0, 1, 2]), "0 1 2"),
            (json!([0.0, 1.0]), "0 1"),
            (json!([false, true]), "0 1"),
            (json!([-1, 0, 1]), "0 1 -1"),
            (json!(["green", "blue"]), "green blue"),
            (json!([0]), "0"),
        ] {
            assert_eq!(states_of(&classes).unwrap(), named);
        }
    }

    #[test]
    fn classes_that_are_not_indices_are_refused() {
        for (classes, message) in [
            (json!([1, 2, 3]), "its classes are 1, 2, 3; a class is the index"),
            (json!([-1, 1]), "its classes are -1, 1; a class is the index"),
            (json!([0, 2]), "its classes are 0, 2; a class is the index"),
            (json!([i64::MIN, 0]), "its classes are -9223372036854775808, 0; a class is the index"),
            (json!([0, 0.5]), "0.5 is not a class"),
            (json!([0, null]), "null is not a class"),
            (json!([0, "one"]), "its classes are 0, one; a class is the index"),
        ] {
            let error = states_of(&classes).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}

//! Classes as scikit-learn names them, and where each stands among a config's states.

use serde_json::Value;

/// What a config would call the states of a model with these classes, in its order: a state for each, named as its class.
///
/// # Errors
///
/// Why no config can name a state for each.
pub(super) fn states(classes: &[Value]) -> Result<Vec<String>, String> {
    if classes.iter().all(Value::is_string) {
        return classes.iter().map(name).collect();
    }
    let all = classes.iter().map(name).collect::<Result<Vec<_>, _>>()?;
    let mut states = vec![None; all.len()];
    for class in &all {
        let place = class.parse::<i64>().ok().and_then(|class| state_index(class, all.len()));
        let state = place.and_then(|place| states.get_mut(place)).filter(|state| state.is_none());
        *state.ok_or_else(|| unfit_classes(&all))? = Some(class.clone());
    }
    states.into_iter().collect::<Option<_>>().ok_or_else(|| unfit_classes(&all))
}

/// Which of `count` states a class stands for: it counts from 0, or from the end if it is negative.
fn state_index(class: i64, count: usize) -> Option<usize> {
    let count = i64::try_from(count).ok()?;
    usize::try_from(if class < 0 { class.checked_add(count)? } else { class }).ok()
}

fn unfit_classes(classes: &[String]) -> String {
    format!(
        "its classes are {}; a class is the place of its state in the config, so 0, 1, 2 and so on are needed, or texts",
        classes.join(", ")
    )
}

/// The name of a class.
///
/// # Errors
///
/// What it is instead of one.
pub(super) fn name(class: &Value) -> Result<String, String> {
    let whole = |number: f64| (number.fract() == 0.0).then(|| format!("{number:.0}"));
    let name = match class {
        Value::String(text) => Some(text.clone()),
        Value::Bool(is) => Some(u8::from(*is).to_string()),
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
    fn a_state_stands_where_its_class_says() {
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
    fn classes_that_are_no_places_are_told() {
        for (classes, told) in [
            (json!([1, 2, 3]), "its classes are 1, 2, 3; a class is the place"),
            (json!([-1, 1]), "its classes are -1, 1; a class is the place"),
            (json!([0, 2]), "its classes are 0, 2; a class is the place"),
            (json!([i64::MIN, 0]), "its classes are -9223372036854775808, 0; a class is the place"),
            (json!([0, 0.5]), "0.5 is not a class"),
            (json!([0, null]), "null is not a class"),
            (json!([0, "one"]), "its classes are 0, one; a class is the place"),
        ] {
            let error = states_of(&classes).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }
}

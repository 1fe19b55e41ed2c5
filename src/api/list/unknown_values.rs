//! Finds unknown values in the filter of a list: an empty list would suggest that all is well.

use axum::http::StatusCode;

use crate::api::problem::Problem;
use crate::boards::DEVICE_FIELDS;
use crate::boards::store::lists::BoardFilter;
use crate::boards::store::{devices, images};
use crate::machine::{Definition, MachineName, StateName, suggestion};
use crate::store::{DbConnection, StoreError};

/// Refuses unknown states, and patterns that match no state.
pub(super) fn refuse_states(definition: &Definition, wanted: &[String]) -> Result<(), Problem> {
    let is_known = |pattern: &&String| definition.states.keys().any(|state| matches(pattern, state.as_str()));
    let Some(unknown) = wanted.iter().find(|pattern| !is_known(pattern)) else { return Ok(()) };
    let detail = if unknown.is_empty() {
        "state: the name of a state is empty".to_owned()
    } else {
        let shown = shown(unknown);
        let known = definition.states.keys().map(StateName::as_str);
        format!("no state `{shown}`{}", suggestion(shown.trim_end_matches('*'), known))
    };
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_state", detail)
        .with("states", definition.states.keys().collect::<Vec<_>>()))
}

/// Whether `state` matches `pattern`, in which each `*` stands for any text.
fn matches(pattern: &str, state: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| state.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Describes a value in the filter that is unknown altogether; where there are no boards, only an image can be.
pub(super) async fn find_unknown_value(
    db: &mut DbConnection,
    machine: &MachineName,
    filter: &BoardFilter,
) -> Result<Option<String>, StoreError> {
    let BoardFilter { states: _, fields, image, name: _, among: _ } = filter;
    let has_boards = !devices::list_hardware(db).await?.is_empty();
    let mut wanted = Vec::new();
    for field in DEVICE_FIELDS.iter().filter(|_| has_boards) {
        if let (Some(filter), Some(value)) = (field.filter, fields.get(field.name)) {
            let refusal = match value.as_str() {
                "" => format!("{}: the value is empty", field.name),
                value => (filter.none_has)(&shown(value)),
            };
            wanted.push((value, refusal, devices::list_values(db, field.name).await?));
        }
    }
    if let Some(image) = image {
        let mut known = devices::list_installed(db, machine).await?;
        known.extend(images::list(db).await?.into_iter().map(|image| image.name));
        known.sort_unstable();
        known.dedup();
        wanted.push((image, format!("there is no image `{}`", shown(image)), known));
    }
    let unknown = wanted.into_iter().find(|(value, _, known)| !known.contains(value));
    Ok(unknown.map(|(value, refusal, known)| {
        let known = known.iter().map(String::as_str).filter(|name| !name.is_empty());
        format!(
            "{refusal}{}",
            if known.clone().next().is_some() { suggestion(value, known) } else { String::new() }
        )
    }))
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, state) in
            [("New", "New"), ("*", "New"), ("Failed*", "FailedBadBoard"), ("*Board", "FailedBadBoard")]
        {
            assert!(matches(pattern, state), "{pattern} {state}");
        }
        for (pattern, state) in
            [("", "New"), ("new", "New"), ("Ne", "New"), ("Fialed*", "FailedBadBoard"), ("N*w*w", "New")]
        {
            assert!(!matches(pattern, state), "{pattern} {state}");
        }
    }
}

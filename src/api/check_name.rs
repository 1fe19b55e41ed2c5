//! Names that clients give to things.

use super::problem::Problem;

/// Checks a name that goes into paths and file names: a host name's label or labels.
pub(super) fn check_name(field: &str, text: &str) -> Result<String, Problem> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_label = |label: &str| {
        label.chars().all(is_plain) && label.starts_with(|first: char| first.is_ascii_alphanumeric())
    };
    if text.len() <= 64 && text.split('.').all(is_label) {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(80).collect();
    Err(Problem::invalid(format!(
        "{field}: {shown:?} is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first \
         and after each `.`"
    )))
}

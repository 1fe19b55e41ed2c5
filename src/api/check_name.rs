//! Checks names in requests.

use super::problem::Problem;
use crate::boards::checked_name;

/// Checks a name that is used in paths and file names: one or more labels of a host name.
pub(super) fn check_name(field: &str, text: &str) -> Result<String, Problem> {
    checked_name(text).map_err(|fault| Problem::invalid(format!("{field}: {fault}")))
}

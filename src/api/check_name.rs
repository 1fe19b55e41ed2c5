//! Names that clients give to things.

use super::problem::Problem;
use crate::boards::checked_name;

/// Checks a name that goes into paths and file names: a host name's label or labels.
pub(super) fn check_name(field: &str, text: &str) -> Result<String, Problem> {
    checked_name(text).map_err(|fault| Problem::invalid(format!("{field}: {fault}")))
}

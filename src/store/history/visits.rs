//! Visits that follow from the other columns of a row.

use crate::machine::Visit;

/// Returns the visit before an entry, by default: most moves enter one state.
pub(super) fn visit_before(moved: bool, after: Visit) -> Visit {
    if moved { Visit(after.0.saturating_sub(1)) } else { after }
}

//! What a row says of visits without a column.

use crate::machine::Visit;

/// The visit before an entry, where nothing says otherwise: most moves enter one state.
pub(super) fn visit_before(moved: bool, after: Visit) -> Visit {
    if moved { Visit(after.0.saturating_sub(1)) } else { after }
}

//! The machine of outlets, and how its definition is recognized.

use crate::machine::Definition;

/// The machine whose instances are outlets.
pub const OUTLET_MACHINE: &str = "outlet";
/// The event that gives up what is under way.
pub const CANCEL_EVENT: &str = "rq-cancel";
/// The events that operations need.
const EVENTS: [&str; 7] = ["rq-status", "rq-test", "rq-on", "rq-off", "rq-cycle", "rq-scan", CANCEL_EVENT];

/// Whether `definition` is one of outlets: the built-in one, or a changed copy of it. A user may have a machine of the same name.
#[must_use]
pub fn is_outlet_definition(definition: &Definition) -> bool {
    let is_declared = |event: &&str| definition.events.contains_key(*event);
    definition.machine.as_str() == OUTLET_MACHINE && EVENTS.iter().all(is_declared)
}

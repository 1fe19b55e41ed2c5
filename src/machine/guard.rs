//! Conditions on transitions, in CEL.

/// A condition, parsed and checked.
#[derive(Debug)]
pub struct Guard;

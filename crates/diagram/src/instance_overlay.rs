//! What a picture shows of instances.

use std::collections::BTreeMap;

use machine::StateName;

/// What a picture shows of instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceOverlay {
    /// The state to light up: that of the one instance that is looked at.
    pub present: Option<StateName>,
    /// How many instances are in each state; a state that is not here, or has none, shows no number.
    pub counts: BTreeMap<StateName, u64>,
}

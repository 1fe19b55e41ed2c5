//! The instances shown in a diagram.

use std::collections::BTreeMap;

use machine::StateName;

/// The instances shown in a diagram.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceOverlay {
    /// The state to highlight: that of the instance the diagram is shown for.
    pub present: Option<StateName>,
    /// Number of instances in each state; missing states and those without instances show no number.
    pub counts: BTreeMap<StateName, u64>,
}

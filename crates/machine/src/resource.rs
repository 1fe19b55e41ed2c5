//! The resources that a definition's states hold, as it declares them.

use std::fmt;
use std::time::Duration;

use super::names::SelectorName;

/// A declared resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceDeclaration {
    /// Which resources will do; nothing: the one of this name.
    pub any: Option<SelectorName>,
    /// How many units there are, of each that will do; nothing is no limit.
    pub capacity: Option<u32>,
    /// The time between two grants.
    pub gap: Duration,
    /// The time between a release and the next grant.
    pub settle: Duration,
    /// One line for people, or empty.
    pub about: String,
}

impl ResourceDeclaration {
    /// Whether `other` says the same of how much there is and when.
    pub(super) fn has_limits_of(&self, other: &Self) -> bool {
        (self.capacity, self.gap, self.settle) == (other.capacity, other.gap, other.settle)
    }
}

impl fmt::Display for ResourceDeclaration {
    /// As it is written in a definition.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |name: &str, span: Duration| {
            (!span.is_zero()).then(|| format!("{name}: {}", formatting::duration(span)))
        };
        let parts = [
            self.any.as_ref().map(|any| format!("any: {any}")),
            self.capacity.map(|units| format!("capacity: {units}")),
            span("gap", self.gap),
            span("settle", self.settle),
        ];
        let parts = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        if parts.is_empty() { f.write_str("{}") } else { write!(f, "{{ {parts} }}") }
    }
}

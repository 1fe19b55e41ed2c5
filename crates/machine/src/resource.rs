//! The resources that a definition declares.

use std::fmt;
use std::time::Duration;

use super::names::SelectorName;

/// A declared resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceDeclaration {
    /// The selector of the acceptable resources; `None` for the resource of this name.
    pub any: Option<SelectorName>,
    /// The number of units of each acceptable resource; `None` means unlimited.
    pub capacity: Option<u32>,
    /// The minimum time between two grants.
    pub gap: Duration,
    /// The settle time between a release and the next grant.
    pub settle: Duration,
    /// A one-line description, or empty.
    pub about: String,
}

impl ResourceDeclaration {
    /// Whether it declares a limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.capacity.is_some() || !self.gap.is_zero() || !self.settle.is_zero()
    }

    /// Whether `other` declares the same limits.
    pub(super) fn has_limits_of(&self, other: &Self) -> bool {
        (self.capacity, self.gap, self.settle) == (other.capacity, other.gap, other.settle)
    }
}

impl fmt::Display for ResourceDeclaration {
    /// Formats it as in a definition.
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

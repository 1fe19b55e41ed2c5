//! What is asked for, and what is got.

use crate::resource::ResourceUnits;

/// What a request needs: units of one of these resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceNeed<R> {
    /// Any of these will do; the first that is free is taken. Mostly there is one.
    pub any_of: Vec<R>,
    /// How many units. More than there are stands for all that there are.
    pub units: u32,
}

impl<R> ResourceNeed<R> {
    /// Units of this resource and no other.
    #[must_use]
    pub fn of(resource: R, units: u32) -> Self {
        Self { any_of: vec![resource], units }
    }
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRequest<K, R> {
    /// How the caller knows it.
    pub key: K,
    /// All that it needs. Needs that name the same resource share its units: two that name one of a single unit, and no
    /// other, never get it.
    pub needs: Vec<ResourceNeed<R>>,
    /// Whether whoever asks holds units of something already, and goes on to hold them while this waits. What others wait for
    /// is then perhaps just that, so nothing that is free is kept for them.
    pub holds: bool,
}

/// A request that gets what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedGrant<K, R> {
    /// Which request.
    pub key: K,
    /// What it gets, a resource for each need.
    pub units: Vec<ResourceUnits<R>>,
}

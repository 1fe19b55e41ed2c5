//! Requests and their grants.

use crate::resource::ResourceUnits;

/// A need of a request: units of one of several resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceNeed<R> {
    /// The resources that satisfy it, usually one; the first free one is granted.
    pub any_of: Vec<R>,
    /// Number of units; more than the capacity means all units.
    pub units: u32,
    /// Whether they count as in use for the window of the resource after their release.
    pub cools: bool,
}

impl<R> ResourceNeed<R> {
    /// A need of units of exactly this resource.
    #[must_use]
    pub fn of(resource: R, units: u32) -> Self {
        Self { any_of: vec![resource], units, cools: false }
    }

    /// The same need, of units that cool after their release.
    #[must_use]
    pub fn cooling(self) -> Self {
        Self { cools: true, ..self }
    }
}

/// A waiting request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRequest<K, R> {
    /// Identifies the request for the caller.
    pub key: K,
    /// All its needs. Needs that name the same resource share its units: two needs of a resource with a single unit are
    /// never granted together.
    pub needs: Vec<ResourceNeed<R>>,
    /// Needs of one resource each that are considered one after the other: each only once all before it could be granted.
    /// Until then nothing of it is reserved.
    pub later: Vec<ResourceNeed<R>>,
    /// Whether the requester holds units while this request waits. Others may wait for those, so no free units are
    /// reserved against it.
    pub holds: bool,
}

impl<K, R> ResourceRequest<K, R> {
    /// All needs, in order.
    pub fn all_needs(&self) -> impl Iterator<Item = &ResourceNeed<R>> {
        self.needs.iter().chain(&self.later)
    }
}

/// A granted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedGrant<K, R> {
    /// The request.
    pub key: K,
    /// The granted units, in the order of all needs.
    pub units: Vec<ResourceUnits<R>>,
}

//! Requests and their grants.

use crate::resource::ResourceUnits;

/// A need of a request: units of one of several resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceNeed<R> {
    /// The resources that satisfy it, usually one; the first free one is granted.
    pub any_of: Vec<R>,
    /// Number of units; more than the capacity means all units.
    pub units: u32,
}

impl<R> ResourceNeed<R> {
    /// A need of units of exactly this resource.
    #[must_use]
    pub fn of(resource: R, units: u32) -> Self {
        Self { any_of: vec![resource], units }
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
    /// Whether the requester holds units while this request waits. Others may wait for those, so no free units are
    /// reserved against it.
    pub holds: bool,
}

/// A granted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedGrant<K, R> {
    /// The request.
    pub key: K,
    /// The granted units, in the order of the needs.
    pub units: Vec<ResourceUnits<R>>,
}

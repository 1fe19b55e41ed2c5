//! Limited resources.

/// A resource with its capacity and the times between grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitedResource {
    /// Number of units; a resource without units grants nothing.
    pub capacity: u32,
    /// Time between two grants.
    pub gap: i64,
    /// Time between a release and the next grant.
    pub settle: i64,
    /// Time of the last grant.
    pub granted_at: Option<i64>,
    /// Time of the last release.
    pub released_at: Option<i64>,
}

impl LimitedResource {
    /// A resource of `capacity` units that grants them as soon as they are free.
    #[must_use]
    pub const fn of(capacity: u32) -> Self {
        Self { capacity, gap: 0, settle: 0, granted_at: None, released_at: None }
    }

    /// The earliest time of the next grant by gap and settle time. Times further in the future than these were recorded
    /// before the clock was set back, and are ignored.
    #[must_use]
    pub fn free_from(&self, now: i64) -> i64 {
        let after = |at: Option<i64>, wait: i64| {
            let at = at.filter(|at| at.saturating_sub(now) <= wait);
            at.map_or(i64::MIN, |at| at.saturating_add(wait))
        };
        after(self.granted_at, self.gap).max(after(self.released_at, self.settle))
    }
}

/// Units of one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceUnits<R> {
    /// The resource.
    pub resource: R,
    /// Number of units.
    pub units: u32,
}

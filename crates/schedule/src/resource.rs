//! What is limited.

/// A resource: how much there is of it, and how fast it may be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitedResource {
    /// How many units there are. Of one with none, nothing is granted.
    pub capacity: u32,
    /// The time between two grants.
    pub gap: i64,
    /// The time between a release and the next grant.
    pub settle: i64,
    /// When units were last granted.
    pub granted_at: Option<i64>,
    /// When units were last given back.
    pub released_at: Option<i64>,
}

impl LimitedResource {
    /// A resource of `capacity` units that grants them as soon as they are free.
    #[must_use]
    pub const fn of(capacity: u32) -> Self {
        Self { capacity, gap: 0, settle: 0, granted_at: None, released_at: None }
    }

    /// From when on it may grant something, as far as its gap and its settle time say. What lies further ahead than that
    /// was written before the clock was put back, and counts no more.
    #[must_use]
    pub fn free_from(&self, now: i64) -> i64 {
        let after = |at: Option<i64>, wait: i64| {
            let at = at.filter(|at| at.saturating_sub(now) <= wait);
            at.map_or(i64::MIN, |at| at.saturating_add(wait))
        };
        after(self.granted_at, self.gap).max(after(self.released_at, self.settle))
    }
}

/// Some units of one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceUnits<R> {
    /// Of which one.
    pub resource: R,
    /// How many.
    pub units: u32,
}

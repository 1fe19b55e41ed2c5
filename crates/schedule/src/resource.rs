//! Limited resources.

/// A resource with its capacity and the times between grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitedResource {
    /// Number of units; a resource without units grants nothing.
    pub capacity: u32,
    /// Time between two grants.
    pub gap: i64,
    /// Time between a release and the next grant.
    pub settle: i64,
    /// Time for which units that [cool](ResourceUnits::cools) count as in use after their release.
    pub window: i64,
    /// Time of the last grant.
    pub granted_at: Option<i64>,
    /// Time of the last release.
    pub released_at: Option<i64>,
    /// Released units that still count as in use.
    pub cooling: Vec<CoolingUnits>,
}

/// Released units that count as in use until a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoolingUnits {
    /// Number of units.
    pub units: u32,
    /// The end.
    pub until: i64,
}

impl LimitedResource {
    /// A resource of `capacity` units that grants them as soon as they are free.
    #[must_use]
    pub const fn of(capacity: u32) -> Self {
        Self {
            capacity,
            gap: 0,
            settle: 0,
            window: 0,
            granted_at: None,
            released_at: None,
            cooling: Vec::new(),
        }
    }

    /// Releases `units` at `now`; those that cool count as in use for the window.
    pub fn release(&mut self, units: u32, cools: bool, now: i64) {
        self.released_at = Some(now);
        self.cooling.retain(|cooling| cooling.until > now);
        if cools && self.window > 0 {
            self.cooling.push(CoolingUnits { units, until: now.saturating_add(self.window) });
        }
    }

    /// Number of units that cool at `now`. Ends further in the future than the window were recorded before the clock was
    /// set back, or before the window was shortened, and are ignored.
    pub(crate) fn cooling_units(&self, now: i64) -> impl Iterator<Item = CoolingUnits> {
        let is_cooling = move |cooling: &&CoolingUnits| {
            cooling.until > now && cooling.until.saturating_sub(now) <= self.window
        };
        self.cooling.iter().filter(is_cooling).copied()
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
    /// Whether they count as in use for the window of the resource after their release.
    pub cools: bool,
}

impl<R> ResourceUnits<R> {
    /// Units that are free as soon as they are released.
    #[must_use]
    pub const fn of(resource: R, units: u32) -> Self {
        Self { resource, units, cools: false }
    }
}

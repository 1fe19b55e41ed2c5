//! The units of a resource in the time to come: those that come back, and those that are promised to earlier requests.

/// Changes of the number of free units, in order of time.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnitProfile {
    changes: Vec<(i64, i64)>,
    has_promises: bool,
}

impl UnitProfile {
    /// Units come back at a time.
    pub(crate) fn give_back(&mut self, units: i64, at: i64) {
        // Before what is promised at the same time.
        let index = self.changes.partition_point(|(other, _)| *other < at);
        self.changes.insert(index, (at, units));
    }

    /// Promises units from a time on, for the window of their resource.
    pub(crate) fn promise(&mut self, units: i64, at: i64, window: i64) {
        let index = self.changes.partition_point(|(other, _)| *other <= at);
        self.changes.insert(index, (at, -units));
        self.give_back(units, at.saturating_add(window));
        self.has_promises = true;
    }

    /// The earliest time from `from` on at which `units` can be taken for `window` without those that are promised, where
    /// `free` are free now.
    pub(crate) fn earliest(&self, free: i64, units: i64, from: i64, window: i64) -> Option<i64> {
        if free >= units && !self.has_promises {
            return Some(from);
        }
        let (mut start, mut level) = (from, free);
        for (at, change) in &self.changes {
            if level >= units && *at >= start.saturating_add(window) {
                break;
            }
            if *at > start && level < units {
                start = *at;
            }
            level += change;
        }
        (level >= units).then_some(start)
    }
}

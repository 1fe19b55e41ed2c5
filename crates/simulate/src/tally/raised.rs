//! Raised events.

/// Counts of a raised event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RaisedTally {
    pub(crate) times: u64,
    /// Number of times that it was accepted.
    pub(crate) taken: u64,
}

impl RaisedTally {
    pub(super) fn merge(&mut self, other: &Self) {
        self.times += other.times;
        self.taken += other.taken;
    }
}

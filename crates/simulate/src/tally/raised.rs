//! Events that instances raised.

/// How often an event was raised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RaisedTally {
    pub(crate) times: u64,
    /// How often the other instance took it.
    pub(crate) taken: u64,
}

impl RaisedTally {
    pub(super) fn merge(&mut self, other: &Self) {
        self.times += other.times;
        self.taken += other.taken;
    }
}

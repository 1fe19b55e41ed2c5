//! How large a farm is, and for how long it is looked at.

/// How large a farm is simulated, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// How many boards, from 1.
    pub boards: u32,
    /// For how many days, from 1.
    pub days: u32,
    /// Where chance begins.
    pub seed: u64,
    /// How often the boards in each state are counted for the time series; by default about two hundred times.
    pub every_s: Option<u64>,
}

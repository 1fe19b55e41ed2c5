//! How large a simulation is.

/// How large a simulation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulationSize {
    /// How many instances of the first machine.
    pub instances: u32,
    /// For how many days.
    pub days: u32,
    /// Where chance begins: the same number makes the same fleet.
    pub seed: u64,
    /// How many seconds there are between two samples of the states over time; about two hundred in all where not given.
    pub sample_interval_s: Option<u64>,
}

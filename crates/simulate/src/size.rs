//! The size of a simulation.

/// The size of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulationSize {
    /// Number of instances of the first machine.
    pub instances: u32,
    /// Simulated days.
    pub days: u32,
    /// Seed of the random numbers: the same seed gives the same simulation.
    pub seed: u64,
    /// Time between samples of the states, in seconds; `None` for about two hundred samples in all.
    pub sample_interval_s: Option<u64>,
}

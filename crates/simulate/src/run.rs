//! Runs the shards of a simulation and merges their counts.

use super::error::SimulationError;
use super::report::SimulationReport;
use super::shard::Shard;
use super::simulation::Simulation;
use super::tally::SimulationTally;

/// The counts of one or several shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulationCounts(SimulationTally);

impl SimulationCounts {
    /// Adds the counts of other shards, in any order.
    pub fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }
}

impl Simulation<'_> {
    /// Simulates one shard from start to end.
    ///
    /// # Errors
    ///
    /// [`SimulationError::EventStorm`] if an instance does not come to rest.
    pub fn run(&self, shard: usize) -> Result<SimulationCounts, SimulationError> {
        Shard::new(self, shard).run().map(SimulationCounts)
    }

    /// Reports the counts of all shards.
    #[must_use]
    pub fn report(&self, counts: &SimulationCounts) -> SimulationReport {
        SimulationReport::new(self, &counts.0)
    }
}

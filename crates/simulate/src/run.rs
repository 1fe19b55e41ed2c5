//! From a prepared fleet to what was counted in it.

use super::error::SimulationError;
use super::report::SimulationReport;
use super::shard::Shard;
use super::simulation::Simulation;
use super::tally::SimulationTally;

/// What was counted in a part of a fleet, or in all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulationCounts(SimulationTally);

impl SimulationCounts {
    /// Adds what was counted in another part. In which order does not matter.
    pub fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }
}

impl Simulation<'_> {
    /// Simulates one of the shards, from beginning to end.
    ///
    /// # Errors
    ///
    /// [`SimulationError::EventStorm`] when an instance does not come to rest.
    pub fn run(&self, shard: usize) -> Result<SimulationCounts, SimulationError> {
        Shard::new(self, shard).run().map(SimulationCounts)
    }

    /// Sums up what was counted in all shards.
    #[must_use]
    pub fn report(&self, counted: &SimulationCounts) -> SimulationReport {
        SimulationReport::new(self, &counted.0)
    }
}

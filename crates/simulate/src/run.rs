//! From a prepared fleet to what was counted in it.

use super::error::SimulateError;
use super::report::Report;
use super::shard::Shard;
use super::simulation::Simulation;
use super::tally::Tally;

/// What was counted in a part of a fleet, or in all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted(Tally);

impl Counted {
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
    /// [`SimulateError::Storm`] when an instance does not come to rest.
    pub fn run(&self, shard: usize) -> Result<Counted, SimulateError> {
        Shard::new(self, shard).run().map(Counted)
    }

    /// Sums up what was counted in all shards.
    #[must_use]
    pub fn report(&self, counted: &Counted) -> Report {
        Report::new(self, &counted.0)
    }
}

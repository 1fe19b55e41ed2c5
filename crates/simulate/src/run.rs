//! From a prepared farm to what was counted in it.

use super::circuit::Circuit;
use super::error::SimulateError;
use super::report::Report;
use super::simulation::Simulation;
use super::tally::Tally;

/// What was counted in a part of a farm, or in all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted(Tally);

impl Counted {
    /// Adds what was counted in another part. In which order does not matter.
    pub fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }
}

impl Simulation<'_> {
    /// Simulates one of the circuits, from beginning to end.
    ///
    /// # Errors
    ///
    /// [`SimulateError::Storm`] when a board does not come to rest.
    pub fn run(&self, circuit: usize) -> Result<Counted, SimulateError> {
        Circuit::new(self, circuit).run().map(Counted)
    }

    /// Sums up what was counted in all circuits.
    #[must_use]
    pub fn report(&self, counted: &Counted) -> Report {
        Report::new(self, &counted.0)
    }
}

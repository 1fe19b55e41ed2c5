//! A fleet of instances under virtual time: the kernel decides as it does for real ones, everything around it is played.
//!
//! ```text
//! profile ─► Simulation ─► shard 0, shard 1, … ─► Tally ─► Report
//!                            │ instances: report, get broken
//!                            │ resources: granted in turn
//!                            │ operators: ask, repair
//!                            └ power: goes and comes back
//! ```
//!
//! Instances share nothing but the device that their actions claim, and devices nothing but their circuit, so a fleet is
//! simulated a circuit at a time, on as many threads as the caller likes. Where states hold resources, or instances are
//! linked, all are one shard. Chance comes from one seed, a stream for each instance: the same seed gives the same fleet, to
//! the last event, however many threads there are.
//!
//! Actions are carried out by the engine's rules: those of a visit one after the other; the first waits for what a later one
//! needs, and takes what the state holds; a state's time runs from the first one's beginning; leaving the state cancels what
//! is left, but what has begun at a device is brought to its end. What is raised at linked instances is decided at the same
//! moment, in order, by the kernel's own chain.
//!
//! Models are not asked, so that a condition with a `predict` never holds.

mod dispatcher;
mod error;
mod instance;
mod limits;
mod outages;
mod population;
mod profile;
mod queue;
mod report;
mod resources;
mod run;
mod shard;
mod simulated_machine;
mod simulation;
mod size;
mod span_histogram;
mod tally;

pub use error::SimulationError;
pub use profile::Profile;
pub use report::{
    Availability, BreakdownReport, FailedStateReport, IgnoredEventReport, MachineReport, RaisedEventReport,
    RelayBoardQueueReport, RelayBoardReport, ResourceReport, SimulationReport, StateSeries, StateShare,
    TimeToAvailable, UnsimulatedRaises,
};
pub use run::SimulationCounts;
pub use simulation::Simulation;
pub use size::SimulationSize;

#[cfg(test)]
mod tests;

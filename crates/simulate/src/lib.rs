//! Simulation of a fleet of instances under virtual time: the kernel decides as for real instances, everything else is
//! simulated.
//!
//! ```text
//! profile ─► Simulation ─► shard 0, shard 1, … ─► SimulationTally ─► SimulationReport
//!                            │ instances: report, break
//!                            │ resources: granted in the order of the queue
//!                            │ operators: request, repair
//!                            └ power: fails and returns
//! ```
//!
//! Instances share only the device that their actions claim, and devices only their circuit, so each circuit is a shard that
//! is simulated independently, on any number of threads. Where states hold resources, or instances are linked, all are one
//! shard. Random numbers come from one seed with a stream for each instance: the same seed gives the same simulation, event
//! by event, on any number of threads.
//!
//! Actions run by the engine's rules: the actions of a visit run one after the other. The first waits for the resources that
//! later ones need, and claims those that the state holds. A state's time limit runs from the start of its first action.
//! Leaving the state cancels the remaining actions; an action that has begun at a device is completed. Events raised at
//! linked instances are decided at the same time, in order, by the kernel's own chain.
//!
//! Models are not evaluated: a condition with `predict` never holds.

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

//! What came of a simulation, summed up. Times are in seconds, shares from 0 to 1.

mod devices;
mod lifecycle;
mod numbers;
mod raised;
mod resources;
mod whole;

pub use devices::{Power, Queues};
pub use lifecycle::{Availability, Failures, Ignored, MachineReport, Series, StateShare, Way};
pub use raised::{Raised, Unsimulated};
pub use resources::ResourceUse;
pub use whole::{Report, Troubles};

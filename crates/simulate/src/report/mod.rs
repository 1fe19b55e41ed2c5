//! The results of a simulation. Times are in seconds, shares from 0 to 1.

mod devices;
mod lifecycle;
mod numbers;
mod raised;
mod resources;
mod simulation_report;

pub use devices::{RelayBoardQueueReport, RelayBoardReport};
pub use lifecycle::{
    Availability, FailedStateReport, IgnoredEventReport, MachineReport, StateSeries, StateShare,
    TimeToAvailable,
};
pub use raised::{RaisedEventReport, UnsimulatedRaises};
pub use resources::ResourceReport;
pub use simulation_report::{BreakdownReport, SimulationReport};

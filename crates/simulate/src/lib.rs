//! A farm under virtual time: the kernel decides as it does for real boards, everything around it is played.
//!
//! ```text
//! profile ─► Simulation ─► circuit 0, circuit 1, … ─► Tally ─► Report
//!                            │ boards: report, get broken
//!                            │ relay boards: one operation at a time
//!                            │ operators: ask, repair
//!                            └ power: goes and comes back
//! ```
//!
//! Boards share nothing but their relay board, and relay boards nothing but their circuit, so a farm is simulated a
//! circuit at a time, on as many threads as the caller likes. Chance comes from one seed, a stream for each board: the
//! same seed gives the same farm, to the last event, however many threads there are.
//!
//! Actions are carried out by the engine's rules: those of a visit one after the other; the first waits for the place
//! that a later one needs; a state's time runs from the first one's beginning; leaving the state cancels what is left,
//! but a power operation that has begun is brought to its end.
//!
//! Models are not asked, so that a condition with a `predict` never holds.

mod board;
mod circuit;
mod error;
mod profile;
mod queue;
mod relay;
mod report;
mod run;
mod simulation;
mod size;
mod spans;
mod tally;

pub use error::SimulateError;
pub use profile::Profile;
pub use report::{Availability, Failures, Ignored, Power, Queues, Report, Series, StateShare, Troubles, Way};
pub use run::Counted;
pub use simulation::Simulation;
pub use size::Size;

#[cfg(test)]
mod tests;

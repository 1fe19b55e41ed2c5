//! What is assumed of actions where nobody measured them: for farms that are simulated.

mod action;
mod distribution;

pub use action::{ActionSite, SimulatedAction};
pub use distribution::Distribution;

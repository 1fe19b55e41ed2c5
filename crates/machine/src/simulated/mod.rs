//! What is assumed of actions where nobody measured them: for farms that are simulated.

mod action;
mod distribution;

pub use action::{SimulatedAction, ActionSite};
pub use distribution::Distribution;

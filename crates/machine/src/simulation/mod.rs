//! Default assumptions about actions for simulated farms.

mod action;
mod distribution;

pub use action::{ActionSite, SimulatedAction};
pub use distribution::Distribution;

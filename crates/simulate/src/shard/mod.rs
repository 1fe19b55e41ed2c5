//! A shard: instances that depend on one another, from the start to the end of virtual time.
//!
//! `actions.rs` runs actions, `chain.rs` decides raised events, and `instance_behaviour.rs` simulates instances, operators
//! and power.

mod actions;
mod apply_decisions;
mod chain;
mod creation;
mod decision;
mod instance_behaviour;
mod state;

pub(super) use state::Shard;

#[cfg(test)]
mod tests;

//! Instances that have to do with one another, from the beginning to the end of virtual time.
//!
//! The rules of actions are `actions.rs`'s, those of what is raised `chain.rs`'s; what instances, people and power do is
//! `life.rs`'s.

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

//! One circuit's boards and relay boards, from the beginning to the end of virtual time.
//!
//! The rules of actions are `actions.rs`'s, what boards and people do is `life.rs`'s.

mod actions;
mod decided;
mod life;
mod state;

pub(super) use state::Circuit;

#[cfg(test)]
mod tests;

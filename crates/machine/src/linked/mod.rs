//! Instances that are linked: what one of them raises, others decide in the same transaction.
//!
//! [`Chain`] says whose turn it is; whoever drives it loads the instance, decides and tells it what came of that. So the
//! engine, which reads from a database in between, and [`decide_linked`], which has all instances at hand, go by one order.

mod chain;
mod circles;
mod decide;
mod prove;
mod raises;

pub use chain::{RaiseChain, MAX_CHAIN_DEPTH, MAX_CHAIN_EVENTS};
pub use decide::{LinkedDecision, LinkedInstances, decide_linked};
pub use prove::{HeldWhileWaiting, LinkFault, check_linked};

#[cfg(test)]
mod tests;

//! Instances that are linked: what one of them raises, others decide in the same transaction.
//!
//! [`RaiseChain`] says whose turn it is; whoever drives it loads the instance, decides and tells it what came of that. So the
//! engine, which reads from a database in between, and [`decide_linked`], which has all instances at hand, go by one order.

mod decide;
mod endless_raises;
mod link_check;
mod raise_chain;
mod raise_graph;

pub use decide::{LinkedDecision, LinkedInstances, decide_linked};
pub use link_check::{HeldWhileWaiting, LinkFault, check_linked};
pub use raise_chain::{MAX_CHAIN_DEPTH, MAX_CHAIN_EVENTS, RaiseChain};

#[cfg(test)]
mod tests;

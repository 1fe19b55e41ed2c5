//! Linked instances: an event that one raises is decided by others in the same transaction.
//!
//! [`RaiseChain`] defines the order. Its caller loads the instance, decides, and passes the decision back. So the
//! engine, which reads from a database in between, and [`decide_linked`], which has all instances in memory, follow the
//! same order.

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

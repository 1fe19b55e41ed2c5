//! The interface of an operation.

use super::context::OperationContext;
use super::names::OperationNames;
use crate::fault::FaultCollector;
use crate::names::{CounterName, EventName, LinkName, MachineName};
use crate::source::SourceNode;

/// An operation: its syntax in `entry:` and `do:`, and its effect.
pub(crate) trait OperationKind: Sized {
    /// Its key.
    const KEY: &'static str;

    /// Parses the value of the key, and adds faults.
    fn parse(node: &SourceNode, names: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self>;

    /// Returns the counter that it names. Counters are collected before anything is checked, because guards may name
    /// them.
    fn counter(node: &SourceNode) -> Option<&str> {
        let _ = node;
        None
    }

    /// Applies the change.
    fn apply(&self, change: &mut OperationContext<'_>);

    /// Describes the operation; definitions are compared by it.
    fn describe(&self) -> String;

    /// Returns its effect on counters, for the proofs that loops end.
    fn counter_effect(&self) -> CounterEffect<'_> {
        CounterEffect::Nothing
    }

    /// Returns the links that it sets: simulated instances start without them.
    fn links_made(&self) -> Vec<&LinkName> {
        Vec::new()
    }

    /// Returns the event that it raises, for the proof across machines that raising ends.
    fn declared_raise(&self) -> Option<DeclaredRaise<'_>> {
        None
    }
}

/// The effect of an operation on counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterEffect<'a> {
    /// None.
    Nothing,
    /// Increments this counter.
    Counts(&'a CounterName),
    /// Clears this counter.
    Clears(&'a CounterName),
    /// Clears all counters.
    ClearsAll,
}

/// An event that an operation raises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredRaise<'a> {
    /// The event.
    pub event: &'a EventName,
    /// The link to the receiving instance.
    pub to: &'a LinkName,
    /// The machine of the receiving instance.
    pub machine: &'a MachineName,
    /// The arguments that the event may have.
    pub args: Vec<&'a str>,
}

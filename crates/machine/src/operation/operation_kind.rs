//! What each operation of the language is.

use super::context::OperationContext;
use super::names::OperationNames;
use crate::fault::FaultCollector;
use crate::names::{CounterName, EventName, LinkName, MachineName};
use crate::source::SourceNode;

/// An operation: what is written after its key in `entry:` and `do:`, and what it does.
pub(crate) trait OperationKind: Sized {
    /// The key that it is written with.
    const KEY: &'static str;

    /// Reads what stands after the key, and notes what is wrong with it.
    fn parse(node: &SourceNode, names: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self>;

    /// The counter that it names, looked for before anything of the definition is checked: conditions may name it.
    fn counter(node: &SourceNode) -> Option<&str> {
        let _ = node;
        None
    }

    /// Makes the change.
    fn apply(&self, change: &mut OperationContext<'_>);

    /// It in words, as it is compared with that of another definition.
    fn describe(&self) -> String;

    /// What it does to counters: the proofs that loops end go by it.
    fn counter_effect(&self) -> CounterEffect<'_> {
        CounterEffect::Nothing
    }

    /// The links that it makes: whoever makes instances up leaves them to it.
    fn links_made(&self) -> Vec<&LinkName> {
        Vec::new()
    }

    /// What it raises: whether that comes to an end is proved across machines.
    fn declared_raise(&self) -> Option<DeclaredRaise<'_>> {
        None
    }
}

/// What an operation does to counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterEffect<'a> {
    /// It leaves them alone.
    Nothing,
    /// This one grows.
    Counts(&'a CounterName),
    /// This one begins anew.
    Clears(&'a CounterName),
    /// All of them begin anew.
    ClearsAll,
}

/// What an operation raises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredRaise<'a> {
    /// The event.
    pub event: &'a EventName,
    /// The link to the instance whose event it is.
    pub to: &'a LinkName,
    /// The machine whose event it is.
    pub machine: &'a MachineName,
    /// The arguments that may come with it.
    pub args: Vec<&'a str>,
}

//! Events that an instance raises at others.

use serde_json::{Map, Value};

use super::link::InstanceAddress;
use super::names::EventName;
use super::visit::Visit;

/// An event for a linked instance, to be decided in the same transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct RaisedEvent {
    /// Whose event it is.
    pub to: InstanceAddress,
    /// The event.
    pub event: EventName,
    /// Its arguments.
    pub args: Map<String, Value>,
    /// The visit that it speaks of, where it is fenced.
    pub visit: Option<Visit>,
}

//! Events that an instance raises at linked instances.

use serde_json::{Map, Value};

use super::link::InstanceAddress;
use super::names::EventName;
use super::visit::Visit;

/// An event for a linked instance, decided in the same transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct RaisedEvent {
    /// The receiving instance.
    pub to: InstanceAddress,
    /// The event.
    pub event: EventName,
    /// Its arguments.
    pub args: Map<String, Value>,
    /// The visit that it refers to, if it is fenced.
    pub visit: Option<Visit>,
}

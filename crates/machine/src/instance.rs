//! Instances of machines, as stored.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::link::Links;
use super::names::{CounterName, MachineName, StateName};
use super::visit::Visit;

/// An instance: one thing with a lifecycle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its machine.
    pub machine: MachineName,
    /// Its name, unique within the machine.
    pub name: String,
    /// Its current state.
    pub state: StateName,
    /// The number of its current visit.
    pub visit: Visit,
    /// When it entered the state from another state; re-entries do not change it.
    pub since: DateTime<Utc>,
    /// When the state's time limit expires, while it is running.
    pub deadline_at: Option<DateTime<Utc>>,
    /// What remains of the state's time limit while it is paused, because an action is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Duration>,
    /// The counters that changed since they were cleared; all others have their initial value.
    pub counters: BTreeMap<CounterName, i64>,
    /// Its data; only transitions change it.
    pub data: Map<String, Value>,
    /// Its links to other instances; only transitions change them.
    #[serde(default, skip_serializing_if = "Links::is_empty")]
    pub links: Links,
}

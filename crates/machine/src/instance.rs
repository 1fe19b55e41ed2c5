//! An instance of a machine: what Postgres remembers of it, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::link::Links;
use super::names::{CounterName, MachineName, StateName};
use super::visit::Visit;

/// One thing with a lifecycle, as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The machine whose instance it is.
    pub machine: MachineName,
    /// Its own name, unique within the machine.
    pub name: String,
    /// Where it is.
    pub state: StateName,
    /// Which entry of a state this is.
    pub visit: Visit,
    /// When it entered the state, which it may have entered anew from itself.
    pub entered_at: DateTime<Utc>,
    /// When it came to the state from another one.
    pub since: DateTime<Utc>,
    /// When the state's time limit passes, once it runs.
    pub deadline_at: Option<DateTime<Utc>>,
    /// What is left of the state's time limit while it stands still, because an action is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Duration>,
    /// What has been counted since the counters were cleared; a counter that is not here is zero.
    pub counters: BTreeMap<CounterName, i64>,
    /// What else it remembers; only transitions change it.
    pub data: Map<String, Value>,
    /// The other instances that it is linked to; only transitions change them.
    #[serde(default, skip_serializing_if = "Links::is_empty")]
    pub links: Links,
}

//! An instance of a machine: what Postgres remembers of it, and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::link::Links;
use super::names::{CounterName, MachineName, StateName};

/// Numbers the entries of states: it grows by one at every entry, re-entries included.
///
/// It is the fence: what carries an earlier visit than the instance's own is stale and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Visit(pub i64);

impl Visit {
    /// The visit after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

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

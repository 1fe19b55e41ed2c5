//! Entries of history.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::machine::{Outcome, StateName, Stimulus, Visit};
use crate::store::instances::InstanceId;

/// The content of a history entry.
#[derive(Debug, Clone, PartialEq)]
pub enum HistoryContent {
    /// A stimulus that was decided on.
    Stimulus(Stimulus),
    /// A note of an observation, such as a fetched file: nothing was decided.
    Note(String),
    /// Content that this program cannot read, and why: the row was written by another version or changed by hand.
    Unreadable(String),
}

/// An entry to be written.
#[derive(Debug, Clone)]
pub struct NewHistoryEntry {
    /// The instance.
    pub instance: InstanceId,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened; facts are stored only if guards could read them.
    pub content: HistoryContent,
    /// The sender, if known: an address, a user, a worker.
    pub sender: Option<String>,
    /// The outcome; `None` for a note.
    pub outcome: Option<Outcome>,
    /// The state before.
    pub from: StateName,
    /// The state after.
    pub to: StateName,
    /// The visit after.
    pub visit: Visit,
    /// Why nothing changed, or why an operator forced the move.
    pub reason: Option<String>,
    /// What was observed.
    pub evidence: Option<Map<String, Value>>,
}

/// An entry as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// Its ID, which grows with time within one instance.
    pub id: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub content: HistoryContent,
    /// The sender.
    pub sender: Option<String>,
    /// `moved`, `stayed`, `ignored` or `noted`.
    pub outcome: String,
    /// The state before.
    pub from: StateName,
    /// The state after.
    pub to: StateName,
    /// The visit after.
    pub visit: Visit,
    /// Why nothing changed, or why an operator forced the move.
    pub reason: Option<String>,
    /// What was observed.
    pub evidence: Option<Map<String, Value>>,
}

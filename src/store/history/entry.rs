//! Entries of history.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::machine::{Outcome, StateName, Stimulus, Visit};
use crate::store::instances::InstanceId;

/// What a history row tells.
#[derive(Debug, Clone, PartialEq)]
pub enum HistoryContent {
    /// Something that was decided on.
    Stimulus(Stimulus),
    /// Something that was only noticed, such as a file that was fetched.
    Note(String),
    /// Nothing that this program can read, and why: the row was written by another version, or changed by hand.
    Unreadable(String),
}

/// An entry to be written.
#[derive(Debug, Clone)]
pub struct NewHistoryEntry {
    /// Whose history it belongs to.
    pub instance: InstanceId,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened; facts are kept only where guards could read them.
    pub content: HistoryContent,
    /// Who sent it, as far as is known: an address, a person, a worker.
    pub sender: Option<String>,
    /// What it amounted to; nothing for a note.
    pub outcome: Option<Outcome>,
    /// The state before.
    pub from: StateName,
    /// The state after.
    pub to: StateName,
    /// The visit after.
    pub visit: Visit,
    /// Why nothing changed, or why an operator forced it.
    pub reason: Option<String>,
    /// What was observed.
    pub evidence: Option<Map<String, Value>>,
}

/// An entry as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// Its number: it grows with time within one instance.
    pub id: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub content: HistoryContent,
    /// Who sent it.
    pub sender: Option<String>,
    /// `moved`, `stayed`, `ignored` or `noted`.
    pub outcome: String,
    /// The state before.
    pub from: StateName,
    /// The state after.
    pub to: StateName,
    /// The visit after.
    pub visit: Visit,
    /// Why nothing changed, or why an operator forced it.
    pub reason: Option<String>,
    /// What was observed.
    pub evidence: Option<Map<String, Value>>,
}

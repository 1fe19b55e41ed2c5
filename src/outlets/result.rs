//! The result of an operation, from the history of its outlet.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::machine::{Cause, EventSource, Stimulus, Visit};
use crate::store::history::{HistoryContent, HistoryEntry};

/// The result of an operation that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationResult {
    /// Why it failed; `None` if it succeeded.
    pub failure: Option<String>,
    /// The part that has to be corrected, where that is known: `configuration`.
    pub fault: Option<String>,
    /// What was observed.
    pub evidence: Map<String, Value>,
    /// When it was requested.
    pub asked_at: DateTime<Utc>,
    /// When its action began; `None` if it never did.
    pub began_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

impl OperationResult {
    /// Finds the result of the operation that was the visit `visit`; `None` if it has not ended. `entries` are the newest of
    /// the history of the outlet, the newest first.
    pub(super) fn find(entries: &[HistoryEntry], visit: Visit) -> Option<Self> {
        let entered = |entry: &&HistoryEntry, visit: Visit| entry.visit == visit && entry.outcome == "moved";
        let arrival = entries.iter().find(|entry| entered(entry, visit))?;
        let end = entries.iter().find(|entry| entered(entry, Visit(visit.0 + 1)))?;
        let began = entries.iter().find(|entry| {
            let cause = cause(entry);
            entry.visit == visit && matches!(cause, Some(Cause::Began { .. }))
        });
        let (failure, fault) = match cause(end) {
            Some(Cause::Event { source: EventSource::Action, name, args, .. }) => {
                let text = |key: &str| args.get(key).and_then(Value::as_str).map(str::to_owned);
                let is_ok = name.as_str().ends_with("-ok");
                ((!is_ok).then(|| text("reason").unwrap_or_else(|| name.to_string())), text("fault"))
            }
            Some(Cause::Deadline { .. }) => {
                (Some("it did not end within the time limit of its state".to_owned()), None)
            }
            Some(cause) => {
                let by = end.sender.as_ref().map(|sender| format!(" by {sender}")).unwrap_or_default();
                (Some(format!("ended by {}{by}", cause.event_name())), None)
            }
            None => (end.reason.clone().or_else(|| Some("its end cannot be read".to_owned())), None),
        };
        Some(Self {
            failure,
            fault,
            evidence: end.evidence.clone().unwrap_or_default(),
            asked_at: arrival.at,
            began_at: began.map(|entry| entry.at),
            ended_at: end.at,
        })
    }
}

fn cause(entry: &HistoryEntry) -> Option<&Cause> {
    match &entry.content {
        HistoryContent::Stimulus(Stimulus { cause, .. }) => Some(cause),
        HistoryContent::Note(_) | HistoryContent::Unreadable(_) => None,
    }
}

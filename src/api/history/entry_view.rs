//! An entry of an instance's history, as JSON.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::machine::{Cause, ModelAnswers, StateName, Stimulus, Visit};
use crate::store::definitions::ActivatedDefinition;
use crate::store::history::{HistoryContent, HistoryEntry};

/// An entry of a history.
#[derive(Debug, Serialize)]
pub(super) struct HistoryEntryView {
    id: i64,
    at: DateTime<Utc>,
    kind: &'static str,
    event: String,
    from: StateName,
    to: StateName,
    visit: Visit,
    outcome: String,
    /// The number of the definition that was active.
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Map<String, Value>>,
    /// The answers of models, by model and by the argument that they judged.
    #[serde(skip_serializing_if = "ModelAnswers::is_empty")]
    predicted: ModelAnswers,
}

impl HistoryEntryView {
    /// The view of `entry`, with the number of the one of the definitions `activated` that was active at its time.
    pub(super) fn new(entry: HistoryEntry, activated: &[ActivatedDefinition]) -> Self {
        let HistoryEntry { id, at, content, sender, outcome, from, to, visit, mut reason, evidence } = entry;
        let (kind, event, args, predicted) = match content {
            HistoryContent::Note(note) => ("note", note, None, ModelAnswers::default()),
            HistoryContent::Unreadable(error) => {
                reason = Some(error);
                ("unreadable", "unreadable".to_owned(), None, ModelAnswers::default())
            }
            HistoryContent::Stimulus(Stimulus { cause, facts: _, predicted }) => {
                let event = cause.event_name().to_owned();
                let (kind, args) = match cause {
                    Cause::Created { links } => {
                        let args =
                            (!links.is_empty()).then(|| Map::from_iter([("links".to_owned(), json!(links))]));
                        ("created", args)
                    }
                    Cause::Event { args, .. } => ("event", (!args.is_empty()).then_some(args)),
                    Cause::Began { .. } => ("began", None),
                    Cause::Suspend { .. } => ("suspend", None),
                    Cause::Retry { action, .. } => {
                        ("retry", Some(Map::from_iter([("action".to_owned(), json!(action))])))
                    }
                    Cause::Deadline { .. } => ("deadline", None),
                    Cause::Force { .. } => ("force", None),
                };
                (kind, event, args, predicted)
            }
        };
        let definition = activated
            .iter()
            .rfind(|activated| activated.first_history <= id)
            .map(|activated| activated.number);
        Self {
            id,
            at,
            kind,
            event,
            from,
            to,
            visit,
            outcome,
            definition,
            sender,
            reason,
            args,
            evidence,
            predicted,
        }
    }
}

//! Rows of history, and how entries are read from them.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sqlx::types::Json;

use super::entry::{HistoryContent, HistoryEntry};
use super::visits::visit_before;
use crate::machine::{ActionName, Cause, EventName, EventSource, Links, StateName, Stimulus, Visit};

/// A row of the table.
pub(super) struct HistoryRow {
    pub(super) instance_id: i64,
    pub(super) history_id: i64,
    pub(super) at: DateTime<Utc>,
    pub(super) kind: String,
    pub(super) event: Option<String>,
    pub(super) source: Option<String>,
    pub(super) sender: Option<String>,
    pub(super) spoken_visit: Option<i64>,
    pub(super) args: Option<Json<Box<RawValue>>>,
    pub(super) facts: Option<Json<Box<RawValue>>>,
    pub(super) outcome: Option<String>,
    pub(super) from_state: String,
    pub(super) to_state: Option<String>,
    pub(super) visit: i64,
    pub(super) reason: Option<String>,
    pub(super) evidence: Option<Json<Box<RawValue>>>,
    pub(super) predicted: Option<Json<Box<RawValue>>>,
}

/// Returns why a row cannot be read.
fn unreadable(column: &'static str) -> String {
    format!("column `{column}` cannot be read")
}

/// Reads a column that holds JSON; NULL is the default.
fn parse<T: DeserializeOwned + Default>(
    column: &'static str,
    json: Option<&Json<Box<RawValue>>>,
) -> Result<T, String> {
    let Some(Json(json)) = json else { return Ok(T::default()) };
    serde_json::from_str(json.get()).map_err(|error| format!("{}: {error}", unreadable(column)))
}

impl HistoryRow {
    fn content(&self) -> Result<HistoryContent, String> {
        let spoken = self.spoken_visit.map(Visit);
        // The visit of an internal stimulus is usually that before the entry, and is not stored then.
        let internal_visit =
            spoken.unwrap_or_else(|| visit_before(self.outcome.is_none(), Visit(self.visit)));
        let args: Map<String, Value> = parse("args", self.args.as_ref())?;
        let state = |key: &str| {
            let state = args.get(key).and_then(Value::as_str).and_then(|state| StateName::new(state).ok());
            state.ok_or_else(|| unreadable("args"))
        };
        let cause = match self.kind.as_str() {
            "note" => return Ok(HistoryContent::Note(self.event.clone().unwrap_or_default())),
            "created" => Cause::Created {
                links: args
                    .get("links")
                    .map(|links| Links::deserialize(links).map_err(|_| unreadable("args")))
                    .transpose()?
                    .unwrap_or_default(),
            },
            "event" => Cause::Event {
                name: EventName::new(self.event.as_deref().unwrap_or_default())
                    .map_err(|_| unreadable("event"))?,
                source: EventSource::parse(self.source.as_deref().unwrap_or_default())
                    .map_err(|_| unreadable("source"))?,
                args,
                visit: spoken,
            },
            "began" => Cause::Began { visit: internal_visit },
            "suspend" => Cause::Suspend { visit: internal_visit },
            "retry" => Cause::Retry {
                visit: internal_visit,
                action: ActionName::new(self.event.as_deref().unwrap_or_default())
                    .map_err(|_| unreadable("event"))?,
            },
            "deadline" => Cause::Deadline { visit: internal_visit },
            "force" => Cause::Force {
                expected: state("expected")?,
                to: state("to")?,
                reason: args
                    .get("reason")
                    .and_then(Value::as_str)
                    .ok_or_else(|| unreadable("args"))?
                    .to_owned(),
            },
            _ => return Err(unreadable("kind")),
        };
        let facts = parse("facts", self.facts.as_ref())?;
        let predicted = parse("predicted", self.predicted.as_ref())?;
        Ok(HistoryContent::Stimulus(Stimulus { cause, facts, predicted }))
    }
}

impl From<HistoryRow> for HistoryEntry {
    /// An unreadable row becomes an entry that says so, so that the other rows can be shown.
    fn from(row: HistoryRow) -> Self {
        let state = |text: &str| StateName::new(text).map_err(|_| unreadable("state"));
        let (from, to) = (&row.from_state, row.to_state.as_ref().unwrap_or(&row.from_state));
        let evidence = parse("evidence", row.evidence.as_ref());
        let fault = state(from).and(state(to)).err().or_else(|| evidence.as_ref().err().cloned());
        let content = match fault {
            Some(fault) => HistoryContent::Unreadable(fault),
            None => row.content().unwrap_or_else(HistoryContent::Unreadable),
        };
        Self {
            id: row.history_id,
            at: row.at,
            content,
            sender: row.sender,
            to: StateName::lossy(to),
            from: StateName::lossy(from),
            outcome: row.outcome.unwrap_or_else(|| "moved".to_owned()),
            visit: Visit(row.visit),
            reason: row.reason,
            evidence: evidence.ok().filter(|evidence: &Map<String, Value>| !evidence.is_empty()),
        }
    }
}

//! What happened to an instance.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body::Parameters;
use super::events::find;
use super::{Api, Problem};
use crate::machine::{Cause, MachineName, Predicted, StateName, Stimulus, Visit};
use crate::store::definitions::{self, Adopted};
use crate::store::history::{self, Entry, Told};
use crate::store::instances::InstanceId;

/// Which part of a history is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Only entries before this one.
    before: Option<i64>,
    /// At most so many.
    limit: Option<i64>,
}

/// The most entries in one answer.
const MOST: i64 = 1000;

#[derive(Debug, Serialize)]
pub(super) struct HistoryView {
    history: Vec<EntryView>,
    /// What to ask for as `before` to read on; nothing at the end.
    next: Option<i64>,
}

#[derive(Debug, Serialize)]
struct EntryView {
    id: i64,
    at: DateTime<Utc>,
    kind: &'static str,
    event: String,
    from: StateName,
    to: StateName,
    visit: Visit,
    outcome: String,
    /// The number of the definition that was in force.
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
    /// What models answered: by model, and by the argument whose values they judged.
    #[serde(skip_serializing_if = "Predicted::is_empty")]
    predicted: Predicted,
}

impl EntryView {
    /// An entry, and which of the definitions `adopted` was in force for it.
    fn new(entry: Entry, adopted: &[Adopted]) -> Self {
        let Entry { id, at, told, sender, outcome, from, to, visit, reason, evidence } = entry;
        let mut reason = reason;
        let (kind, event, args, predicted) = match told {
            Told::Note(note) => ("note", note, None, Predicted::default()),
            Told::Unreadable(why) => {
                reason = Some(why);
                ("unreadable", "unreadable".to_owned(), None, Predicted::default())
            }
            Told::Stimulus(Stimulus { cause, device: _, predicted }) => {
                let (kind, event, args) = match cause {
                    Cause::Created => ("created", "created".to_owned(), None),
                    Cause::Event { name, args, .. } => {
                        ("event", name.to_string(), (!args.is_empty()).then_some(args))
                    }
                    Cause::Began { .. } => ("began", "actions-began".to_owned(), None),
                    Cause::Deadline { .. } => ("deadline", "timeout".to_owned(), None),
                    Cause::Force { .. } => ("force", "forced".to_owned(), None),
                };
                (kind, event, args, predicted)
            }
        };
        let definition =
            adopted.iter().rfind(|adopted| adopted.first_history <= id).map(|adopted| adopted.number);
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

/// `GET /api/v1/devices/{name}/history?limit=&before=`: what happened, the newest first.
pub(super) async fn of_device(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Parameters(page): Parameters<Page>,
) -> Result<Json<HistoryView>, Problem> {
    let id = find(&api, &name).await?.id;
    read(&api, &api.machine, id, page).await
}

/// Reads a part of an instance's history.
pub(super) async fn read(
    api: &Api,
    machine: &MachineName,
    id: InstanceId,
    Page { before, limit }: Page,
) -> Result<Json<HistoryView>, Problem> {
    let limit = limit.unwrap_or(100);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::invalid(format!("limit={limit}: from 1 to {MOST} entries can be asked for")));
    }
    let mut db = api.engine.store().reader().await?;
    let adopted = definitions::list(&mut db, machine).await?;
    // One more than is wanted tells whether there are more.
    let mut entries = history::list(&mut db, id, before, limit + 1).await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = entries.len() > most;
    entries.truncate(most);
    let next = entries.last().filter(|_| has_more).map(|last| last.id);
    Ok(Json(HistoryView {
        history: entries.into_iter().map(|entry| EntryView::new(entry, &adopted)).collect(),
        next,
    }))
}

//! What happened to instances, in order: enough to explain each present state and to replay each past one.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::instances::{InstanceId, name};
use super::{StoreError, Tx};
use crate::machine::{Cause, EventName, Outcome, Source, StateName, Stimulus, Visit};

/// What a history row tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Something that was decided on.
    Stimulus(Stimulus),
    /// Something that was only noticed, such as a file that the board fetched.
    Note(String),
}

/// An entry to be written.
#[derive(Debug, Clone)]
pub struct NewEntry<'a> {
    /// Whose history it belongs to.
    pub instance: InstanceId,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened; the device's facts are kept only where guards could read them.
    pub told: &'a Told,
    /// Who sent it, as far as is known: an address, a person, a worker.
    pub sender: Option<&'a str>,
    /// What it amounted to; nothing for a note.
    pub outcome: Option<&'a Outcome>,
    /// The state before.
    pub from: &'a StateName,
    /// The state after.
    pub to: &'a StateName,
    /// The visit after.
    pub visit: Visit,
    /// Why nothing changed, or why an operator forced it.
    pub reason: Option<String>,
    /// What was observed.
    pub evidence: Option<&'a Map<String, Value>>,
}

/// An entry as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number: it grows with time within one instance.
    pub id: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub told: Told,
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

struct HistoryRow {
    history_id: i64,
    at: DateTime<Utc>,
    kind: String,
    event: Option<String>,
    source: Option<String>,
    sender: Option<String>,
    spoken_visit: Option<i64>,
    args: Option<Json<Map<String, Value>>>,
    device: Option<Json<Map<String, Value>>>,
    outcome: String,
    from_state: String,
    to_state: String,
    visit: i64,
    reason: Option<String>,
    evidence: Option<Json<Map<String, Value>>>,
}

/// The columns that hold a stimulus.
#[derive(Default)]
struct Columns<'a> {
    kind: &'static str,
    event: Option<&'a str>,
    source: Option<&'static str>,
    spoken_visit: Option<i64>,
    args: Option<Json<Map<String, Value>>>,
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::Board => "board",
        Source::Operator => "operator",
        Source::Action => "action",
    }
}

fn columns(told: &Told) -> Columns<'_> {
    let cause = match told {
        Told::Note(note) => return Columns { kind: "note", event: Some(note), ..Columns::default() },
        Told::Stimulus(stimulus) => &stimulus.cause,
    };
    match cause {
        Cause::Created => Columns { kind: "created", ..Columns::default() },
        Cause::Event { name, source, args, visit } => Columns {
            kind: "event",
            event: Some(name.as_str()),
            source: Some(source_name(*source)),
            spoken_visit: visit.map(|visit| visit.0),
            args: (!args.is_empty()).then(|| Json(args.clone())),
        },
        Cause::Began { visit } => {
            Columns { kind: "began", spoken_visit: Some(visit.0), ..Columns::default() }
        }
        Cause::Deadline { visit } => {
            Columns { kind: "deadline", spoken_visit: Some(visit.0), ..Columns::default() }
        }
        Cause::Force { expected, to, reason } => {
            let args = [("expected", expected.as_str()), ("to", to.as_str()), ("reason", reason)];
            let args = args.into_iter().map(|(key, text)| (key.to_owned(), Value::from(text))).collect();
            Columns { kind: "force", args: Some(Json(args)), ..Columns::default() }
        }
    }
}

fn unreadable(what: &str) -> StoreError {
    StoreError::Statement(sqlx::Error::Decode(format!("a history row without a readable {what}").into()))
}

impl HistoryRow {
    fn told(&self) -> Result<Told, StoreError> {
        let spoken = self.spoken_visit.map(Visit);
        let args = self.args.as_ref().map(|args| args.0.clone()).unwrap_or_default();
        let text = |key: &str| args.get(key).and_then(Value::as_str).ok_or_else(|| unreadable("argument"));
        let cause = match self.kind.as_str() {
            "note" => return Ok(Told::Note(self.event.clone().unwrap_or_default())),
            "created" => Cause::Created,
            "event" => Cause::Event {
                name: name(EventName::new(self.event.as_deref().unwrap_or_default()))?,
                source: match self.source.as_deref() {
                    Some("board") => Source::Board,
                    Some("operator") => Source::Operator,
                    Some("action") => Source::Action,
                    _ => return Err(unreadable("source")),
                },
                args,
                visit: spoken,
            },
            "began" => Cause::Began { visit: spoken.ok_or_else(|| unreadable("visit"))? },
            "deadline" => Cause::Deadline { visit: spoken.ok_or_else(|| unreadable("visit"))? },
            "force" => Cause::Force {
                expected: name(StateName::new(text("expected")?))?,
                to: name(StateName::new(text("to")?))?,
                reason: text("reason")?.to_owned(),
            },
            _ => return Err(unreadable("kind")),
        };
        let device = self.device.as_ref().map(|device| device.0.clone()).unwrap_or_default();
        Ok(Told::Stimulus(Stimulus { cause, device }))
    }
}

impl TryFrom<HistoryRow> for Entry {
    type Error = StoreError;

    fn try_from(row: HistoryRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.history_id,
            at: row.at,
            told: row.told()?,
            sender: row.sender,
            outcome: row.outcome,
            from: name(StateName::new(&row.from_state))?,
            to: name(StateName::new(&row.to_state))?,
            visit: Visit(row.visit),
            reason: row.reason,
            evidence: row.evidence.map(|evidence| evidence.0),
        })
    }
}

/// Adds an entry.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
#[tracing::instrument(name = "store.history.append", level = "debug", skip_all)]
pub async fn append(tx: &mut Tx, entry: &NewEntry<'_>) -> Result<(), StoreError> {
    let columns = columns(entry.told);
    let outcome = match entry.outcome {
        None => "noted",
        Some(Outcome::Moved { .. }) => "moved",
        Some(Outcome::Stayed) => "stayed",
        Some(Outcome::Ignored(_)) => "ignored",
    };
    let device = match entry.told {
        Told::Stimulus(stimulus) if !stimulus.device.is_empty() => Some(Json(stimulus.device.clone())),
        Told::Stimulus(_) | Told::Note(_) => None,
    };
    sqlx::query!(
        "INSERT INTO history (instance_id, at, kind, event, source, sender, spoken_visit, args, device, outcome,
                              from_state, to_state, visit, reason, evidence)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        entry.instance.0,
        entry.at,
        columns.kind,
        columns.event,
        columns.source,
        entry.sender,
        columns.spoken_visit,
        columns.args as _,
        device as _,
        outcome,
        entry.from.as_str(),
        entry.to.as_str(),
        entry.visit.0,
        entry.reason,
        entry.evidence.map(Json) as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Lists at most `most` entries of an instance that come before entry `before`, the newest first.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list(
    db: &mut PgConnection,
    instance: InstanceId,
    before: Option<i64>,
    most: i64,
) -> Result<Vec<Entry>, StoreError> {
    let rows = sqlx::query_as!(
        HistoryRow,
        r#"SELECT history_id, at, kind, event, source, sender, spoken_visit,
                  args AS "args: Json<Map<String, Value>>", device AS "device: Json<Map<String, Value>>",
                  outcome, from_state, to_state, visit, reason,
                  evidence AS "evidence: Json<Map<String, Value>>"
             FROM history
            WHERE instance_id = $1 AND history_id < coalesce($2, 9223372036854775807)
            ORDER BY history_id DESC LIMIT $3"#,
        instance.0,
        before,
        most,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Entry::try_from).collect()
}

/// What is known of the board's present boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boot {
    /// When its power was last seen to come on.
    pub powered_at: Option<DateTime<Utc>>,
    /// When it first asked for its boot config since then.
    pub asked_at: Option<DateTime<Utc>>,
    /// When it last asked for a file or reported something since then.
    pub heard_at: Option<DateTime<Utc>>,
}

/// Reads what is known of the board's present boot.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read_boot(db: &mut PgConnection, instance: InstanceId) -> Result<Boot, StoreError> {
    let boot = sqlx::query_as!(
        Boot,
        r#"WITH power AS (
               SELECT history_id, at FROM history
                WHERE instance_id = $1 AND kind = 'event' AND event IN ('power-cycle-ok', 'power-on-ok')
                ORDER BY history_id DESC LIMIT 1)
           SELECT (SELECT at FROM power) AS powered_at,
                  min(h.at) FILTER (WHERE h.kind = 'note' AND h.event = 'asked-boot-config') AS asked_at,
                  max(h.at) FILTER (WHERE h.kind = 'note' OR h.source = 'board') AS heard_at
             FROM history h
            WHERE h.instance_id = $1 AND h.history_id > (SELECT history_id FROM power)"#,
        instance.0,
    )
    .fetch_one(db)
    .await?;
    Ok(boot)
}

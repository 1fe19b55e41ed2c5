//! What happened to instances, in order: enough to explain each present state and to replay each past one.

use std::borrow::Cow;
use std::collections::HashMap;

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
pub struct NewEntry {
    /// Whose history it belongs to.
    pub instance: InstanceId,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened; the device's facts are kept only where guards could read them.
    pub told: Told,
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
    args: Option<Cow<'a, Map<String, Value>>>,
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
            args: (!args.is_empty()).then_some(Cow::Borrowed(args)),
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
            Columns { kind: "force", args: Some(Cow::Owned(args)), ..Columns::default() }
        }
    }
}

fn unreadable(what: &str) -> StoreError {
    StoreError::unreadable(format!("a history row without a readable {what}"))
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

/// Entries as a statement takes them: an array for each column.
#[derive(Default)]
pub(super) struct Rows<'a> {
    pub(super) instances: Vec<i64>,
    pub(super) at: Vec<DateTime<Utc>>,
    pub(super) kinds: Vec<&'static str>,
    pub(super) events: Vec<Option<&'a str>>,
    pub(super) sources: Vec<Option<&'static str>>,
    pub(super) senders: Vec<Option<&'a str>>,
    pub(super) spoken_visits: Vec<Option<i64>>,
    pub(super) args: Vec<Option<Json<Cow<'a, Map<String, Value>>>>>,
    pub(super) devices: Vec<Option<Json<&'a Map<String, Value>>>>,
    pub(super) outcomes: Vec<&'static str>,
    pub(super) from_states: Vec<&'a str>,
    pub(super) to_states: Vec<&'a str>,
    pub(super) visits: Vec<i64>,
    pub(super) reasons: Vec<Option<&'a str>>,
    pub(super) evidence: Vec<Option<Json<&'a Map<String, Value>>>>,
}

impl<'a> Rows<'a> {
    /// Adds an entry.
    pub(super) fn push(&mut self, entry: &'a NewEntry) {
        let NewEntry { instance, at, told, sender, outcome, from, to, visit, reason, evidence } = entry;
        let Columns { kind, event, source, spoken_visit, args } = columns(told);
        let device = match told {
            Told::Stimulus(stimulus) if !stimulus.device.is_empty() => Some(Json(&stimulus.device)),
            Told::Stimulus(_) | Told::Note(_) => None,
        };
        let outcome = match outcome {
            None => "noted",
            Some(Outcome::Moved { .. }) => "moved",
            Some(Outcome::Stayed) => "stayed",
            Some(Outcome::Ignored(_)) => "ignored",
        };
        self.instances.push(instance.0);
        self.at.push(*at);
        self.kinds.push(kind);
        self.events.push(event);
        self.sources.push(source);
        self.senders.push(sender.as_deref());
        self.spoken_visits.push(spoken_visit);
        self.args.push(args.map(Json));
        self.devices.push(device);
        self.outcomes.push(outcome);
        self.from_states.push(from.as_str());
        self.to_states.push(to.as_str());
        self.visits.push(visit.0);
        self.reasons.push(reason.as_deref());
        self.evidence.push(evidence.as_ref().map(Json));
    }
}

/// Adds an entry.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn append(tx: &mut Tx, entry: &NewEntry) -> Result<(), StoreError> {
    let mut rows = Rows::default();
    rows.push(entry);
    sqlx::query!(
        "INSERT INTO history (instance_id, at, kind, event, source, sender, spoken_visit, args, device, outcome,
                              from_state, to_state, visit, reason, evidence)
         SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[],
                              $7::bigint[], $8::jsonb[], $9::jsonb[], $10::text[], $11::text[], $12::text[],
                              $13::bigint[], $14::text[], $15::jsonb[])",
        &rows.instances,
        &rows.at,
        &rows.kinds as _,
        &rows.events as _,
        &rows.sources as _,
        &rows.senders as _,
        &rows.spoken_visits as _,
        &rows.args as _,
        &rows.devices as _,
        &rows.outcomes as _,
        &rows.from_states as _,
        &rows.to_states as _,
        &rows.visits,
        &rows.reasons as _,
        &rows.evidence as _,
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

/// Reads what is known of the present boots of boards.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read_boots(
    db: &mut PgConnection,
    instances: &[InstanceId],
) -> Result<HashMap<InstanceId, Boot>, StoreError> {
    let ids: Vec<i64> = instances.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"SELECT wanted.id AS "id!", power.at AS "powered_at?", heard.asked_at AS "asked_at?",
                  heard.heard_at AS "heard_at?"
             FROM unnest($1::bigint[]) AS wanted (id)
             LEFT JOIN LATERAL (
                  SELECT history_id, at FROM history
                   WHERE instance_id = wanted.id AND kind = 'event' AND event IN ('power-cycle-ok', 'power-on-ok')
                   ORDER BY history_id DESC LIMIT 1) power ON true
             LEFT JOIN LATERAL (
                  SELECT min(h.at) FILTER (WHERE h.kind = 'note' AND h.event = 'asked-boot-config') AS asked_at,
                         max(h.at) FILTER (WHERE h.kind = 'note' OR h.source = 'board') AS heard_at
                    FROM history h
                   WHERE h.instance_id = wanted.id AND h.history_id > power.history_id) heard ON true"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    let boot = |powered_at, asked_at, heard_at| Boot { powered_at, asked_at, heard_at };
    Ok(rows
        .into_iter()
        .map(|row| (InstanceId(row.id), boot(row.powered_at, row.asked_at, row.heard_at)))
        .collect())
}

//! What happened to instances, in order: enough to explain each present state and to replay each past one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::instances::InstanceId;
use super::sparse::Sparse;
use super::{StoreError, Tx};
use crate::machine::{Cause, EventName, MachineName, Outcome, Predicted, Source, StateName, Stimulus, Visit};

/// What a history row tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Something that was decided on.
    Stimulus(Stimulus),
    /// Something that was only noticed, such as a file that the board fetched.
    Note(String),
    /// Nothing that this program can read, and why: the row was written by another version, or changed by hand.
    Unreadable(String),
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
    args: Option<Json<Box<RawValue>>>,
    device: Option<Json<Box<RawValue>>>,
    outcome: Option<String>,
    from_state: String,
    to_state: Option<String>,
    visit: i64,
    reason: Option<String>,
    evidence: Option<Json<Box<RawValue>>>,
    predicted: Option<Json<Box<RawValue>>>,
}

/// The columns that hold a stimulus.
#[derive(Default)]
struct Columns<'a> {
    kind: &'static str,
    event: Option<&'a str>,
    source: Option<Cow<'a, str>>,
    spoken_visit: Option<i64>,
    args: Option<Cow<'a, Map<String, Value>>>,
}

fn columns(told: &Told) -> Columns<'_> {
    let cause = match told {
        Told::Note(note) => return Columns { kind: "note", event: Some(note), ..Columns::default() },
        // It is read and never written; what is known of it would be lost.
        Told::Unreadable(_) => return Columns { kind: "unreadable", ..Columns::default() },
        Told::Stimulus(stimulus) => &stimulus.cause,
    };
    match cause {
        Cause::Created => Columns { kind: "created", ..Columns::default() },
        Cause::Event { name, source, args, visit } => Columns {
            kind: "event",
            event: Some(name.as_str()),
            source: Some(source.text()),
            spoken_visit: visit.map(|visit| visit.0),
            args: (!args.is_empty()).then_some(Cow::Borrowed(args)),
        },
        Cause::Began { visit } => {
            Columns { kind: "began", spoken_visit: Some(visit.0), ..Columns::default() }
        }
        Cause::Suspend { visit } => {
            Columns { kind: "suspend", spoken_visit: Some(visit.0), ..Columns::default() }
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

/// The visit before an entry, where nothing says otherwise: most moves enter one state.
fn visit_found(moved: bool, after: Visit) -> Visit {
    if moved { Visit(after.0.saturating_sub(1)) } else { after }
}

/// What keeps a row from being read.
fn unreadable(column: &'static str) -> String {
    format!("its `{column}` cannot be read")
}

/// Reads a column that holds JSON; nothing is the default.
fn parse<T: DeserializeOwned + Default>(
    column: &'static str,
    json: Option<&Json<Box<RawValue>>>,
) -> Result<T, String> {
    let Some(Json(json)) = json else { return Ok(T::default()) };
    serde_json::from_str(json.get()).map_err(|error| format!("{}: {error}", unreadable(column)))
}

impl HistoryRow {
    fn told(&self) -> Result<Told, String> {
        let spoken = self.spoken_visit.map(Visit);
        // Our own clockwork speaks of the visit that it found, which is rarely worth a column.
        let found = spoken.unwrap_or_else(|| visit_found(self.outcome.is_none(), Visit(self.visit)));
        let args: Map<String, Value> = parse("args", self.args.as_ref())?;
        let state = |key: &str| {
            let state = args.get(key).and_then(Value::as_str).and_then(|state| StateName::new(state).ok());
            state.ok_or_else(|| unreadable("args"))
        };
        let cause = match self.kind.as_str() {
            "note" => return Ok(Told::Note(self.event.clone().unwrap_or_default())),
            "created" => Cause::Created,
            "event" => Cause::Event {
                name: EventName::new(self.event.as_deref().unwrap_or_default())
                    .map_err(|_| unreadable("event"))?,
                source: Source::parse(self.source.as_deref().unwrap_or_default())
                    .map_err(|_| unreadable("source"))?,
                args,
                visit: spoken,
            },
            "began" => Cause::Began { visit: found },
            "suspend" => Cause::Suspend { visit: found },
            "deadline" => Cause::Deadline { visit: found },
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
        let facts = parse("device", self.device.as_ref())?;
        let predicted = parse("predicted", self.predicted.as_ref())?;
        Ok(Told::Stimulus(Stimulus { cause, facts, predicted }))
    }
}

impl From<HistoryRow> for Entry {
    /// What cannot be read of a row is told instead of it: the rows around it are none the worse.
    fn from(row: HistoryRow) -> Self {
        let state = |text: &str| StateName::new(text).map_err(|_| unreadable("state"));
        let (from, to) = (&row.from_state, row.to_state.as_ref().unwrap_or(&row.from_state));
        let evidence = parse("evidence", row.evidence.as_ref());
        let fault = state(from).and(state(to)).err().or_else(|| evidence.as_ref().err().cloned());
        let told = match fault {
            Some(fault) => Told::Unreadable(fault),
            None => row.told().unwrap_or_else(Told::Unreadable),
        };
        Self {
            id: row.history_id,
            at: row.at,
            told,
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

/// Entries as a statement takes them: an array for each column but their time.
#[derive(Default)]
pub(super) struct Rows<'a> {
    pub(super) instances: Vec<i64>,
    pub(super) kinds: Vec<&'static str>,
    pub(super) events: Sparse<&'a str>,
    pub(super) sources: Sparse<Cow<'a, str>>,
    pub(super) senders: Sparse<&'a str>,
    pub(super) spoken_visits: Sparse<i64>,
    pub(super) args: Sparse<Json<Cow<'a, Map<String, Value>>>>,
    pub(super) devices: Sparse<Json<&'a Map<String, Value>>>,
    pub(super) outcomes: Sparse<&'static str>,
    pub(super) from_states: Vec<&'a str>,
    pub(super) to_states: Sparse<&'a str>,
    pub(super) visits: Vec<i64>,
    pub(super) reasons: Sparse<&'a str>,
    pub(super) evidence: Sparse<Json<&'a Map<String, Value>>>,
    pub(super) predicted: Sparse<Json<&'a Predicted>>,
}

impl<'a> Rows<'a> {
    /// Adds an entry.
    pub(super) fn push(&mut self, entry: &'a NewEntry) {
        let NewEntry { instance, at: _, told, sender, outcome, from, to, visit, reason, evidence } = entry;
        let Columns { kind, event, source, spoken_visit, args } = columns(told);
        let (facts, predicted) = match told {
            Told::Stimulus(Stimulus { cause: _, facts, predicted }) => {
                (Some(facts).filter(|facts| !facts.is_empty()), Some(predicted).filter(|all| !all.is_empty()))
            }
            Told::Note(_) | Told::Unreadable(_) => (None, None),
        };
        let outcome = match outcome {
            None => Some("noted"),
            Some(Outcome::Moved { .. }) => None,
            Some(Outcome::Stayed) => Some("stayed"),
            Some(Outcome::Ignored(_)) => Some("ignored"),
        };
        // NULL is what can be told from the rest; the migration says how.
        let is_clockwork = matches!(kind, "began" | "suspend" | "deadline");
        let found = visit_found(outcome.is_none(), *visit);
        let spoken_visit = spoken_visit.filter(|spoken| !is_clockwork || *spoken != found.0);
        self.instances.push(instance.0);
        self.kinds.push(kind);
        self.events.push(event);
        self.sources.push(source);
        self.senders.push(sender.as_deref());
        self.spoken_visits.push(spoken_visit);
        self.args.push(args.map(Json));
        self.devices.push(facts.map(Json));
        self.outcomes.push(outcome);
        self.from_states.push(from.as_str());
        self.to_states.push((to != from).then(|| to.as_str()));
        self.visits.push(visit.0);
        self.reasons.push(reason.as_deref());
        self.evidence.push(evidence.as_ref().map(Json));
        self.predicted.push(predicted.map(Json));
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
        "INSERT INTO history (at, instance_id, visit, spoken_visit, kind, from_state, to_state, outcome, event, source,
                              sender, reason, args, device, evidence, predicted)
         SELECT $1, unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]), unnest($5::text[]),
                unnest($6::text[]), unnest($7::text[]), unnest($8::text[]), unnest($9::text[]), unnest($10::text[]),
                unnest($11::text[]), unnest($12::text[]), unnest($13::jsonb[]), unnest($14::jsonb[]),
                unnest($15::jsonb[]), unnest($16::jsonb[])",
        entry.at,
        &rows.instances,
        &rows.visits,
        rows.spoken_visits.as_slice() as _,
        &rows.kinds as _,
        &rows.from_states as _,
        rows.to_states.as_slice() as _,
        rows.outcomes.as_slice() as _,
        rows.events.as_slice() as _,
        rows.sources.as_slice() as _,
        rows.senders.as_slice() as _,
        rows.reasons.as_slice() as _,
        rows.args.as_slice() as _,
        rows.devices.as_slice() as _,
        rows.evidence.as_slice() as _,
        rows.predicted.as_slice() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Lists at most `most` entries of an instance that come before entry `before`, the newest first.
///
/// What it shares with others is not among them: that its deadline entered its state anew and kept its actions.
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
                  args AS "args: Json<Box<RawValue>>", device AS "device: Json<Box<RawValue>>",
                  outcome, from_state, to_state, visit AS "visit!", reason,
                  evidence AS "evidence: Json<Box<RawValue>>", predicted AS "predicted: Json<Box<RawValue>>"
             FROM history
            WHERE instance_id = $1 AND history_id < coalesce($2, 9223372036854775807)
            ORDER BY history_id DESC LIMIT $3"#,
        instance.0,
        before,
        most,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Entry::from).collect())
}

/// Lists all entries of an instance, the oldest first, with those that it shares with others.
///
/// For replay only: no index has the shared ones, so that all of them are read.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_all(db: &mut PgConnection, instance: InstanceId) -> Result<Vec<Entry>, StoreError> {
    // What began a visit comes before all else of that visit, whatever their numbers within one transaction.
    let rows = sqlx::query_as!(
        HistoryRow,
        r#"SELECT history_id AS "history_id!", at AS "at!", kind AS "kind!", event, source, sender, spoken_visit,
                  args AS "args: Json<Box<RawValue>>", device AS "device: Json<Box<RawValue>>",
                  outcome, from_state AS "from_state!", to_state, visit AS "visit!", reason,
                  evidence AS "evidence: Json<Box<RawValue>>", predicted AS "predicted: Json<Box<RawValue>>"
             FROM (SELECT history_id, at, kind, event, source, sender, spoken_visit, args, device, outcome, from_state,
                          to_state, visit, reason, evidence, predicted
                     FROM history WHERE instance_id = $1
                   UNION ALL
                   SELECT h.history_id, h.at, 'deadline', NULL, NULL, NULL, NULL, NULL, NULL, NULL, h.from_state,
                          NULL, kept.visit, NULL, NULL, NULL
                     FROM history h, unnest(h.instances, h.visits) AS kept (instance_id, visit)
                    WHERE h.kind = 'kept' AND kept.instance_id = $1) AS entry
            ORDER BY visit, outcome IS NULL DESC, history_id"#,
        instance.0,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Entry::from).collect())
}

/// Reads everything that happened to the instances of `machine`, those that are gone left out, in the order of its numbers:
/// what several have in common comes once for each.
///
/// # Errors
///
/// The stream ends with [`StoreError`] when the statement fails.
pub fn stream<'a>(
    db: &'a mut PgConnection,
    machine: &'a MachineName,
    name: Option<&'a str>,
) -> impl Stream<Item = Result<(InstanceId, Entry), StoreError>> + 'a {
    let rows = sqlx::query!(
        r#"WITH wanted AS (SELECT instance_id FROM instance WHERE machine = $1 AND name = coalesce($2, name))
           SELECT entry.instance_id AS "instance_id!", history_id AS "history_id!", at AS "at!", kind AS "kind!", event,
                  source, sender, spoken_visit, args AS "args: Json<Box<RawValue>>",
                  device AS "device: Json<Box<RawValue>>", outcome, from_state AS "from_state!", to_state,
                  visit AS "visit!", reason, evidence AS "evidence: Json<Box<RawValue>>",
                  predicted AS "predicted: Json<Box<RawValue>>"
             FROM (SELECT instance_id, history_id, at, kind, event, source, sender, spoken_visit, args, device, outcome,
                          from_state, to_state, visit, reason, evidence, predicted
                     FROM history WHERE instance_id IS NOT NULL
                   UNION ALL
                   SELECT kept.instance_id, h.history_id, h.at, 'deadline', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                          h.from_state, NULL, kept.visit, NULL, NULL, NULL
                     FROM history h, unnest(h.instances, h.visits) AS kept (instance_id, visit)
                    WHERE h.kind = 'kept') AS entry
             JOIN wanted ON wanted.instance_id = entry.instance_id
            ORDER BY history_id"#,
        machine.as_str(),
        name,
    )
    .fetch(db);
    rows.map(|row| {
        let row = row?;
        let instance = InstanceId(row.instance_id);
        let entry = Entry::from(HistoryRow {
            history_id: row.history_id,
            at: row.at,
            kind: row.kind,
            event: row.event,
            source: row.source,
            sender: row.sender,
            spoken_visit: row.spoken_visit,
            args: row.args,
            device: row.device,
            outcome: row.outcome,
            from_state: row.from_state,
            to_state: row.to_state,
            visit: row.visit,
            reason: row.reason,
            evidence: row.evidence,
            predicted: row.predicted,
        });
        Ok((instance, entry))
    })
}

/// Which entry a note is, and when it was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoteId {
    /// The entry's number.
    pub history_id: i64,
    /// When it was added, which says where it is.
    pub at: DateTime<Utc>,
}

/// How far back a note is looked for that may be told more of.
const LATEST_NOTES: TimeDelta = TimeDelta::days(1);

/// Finds the last note `event` of an instance that `sender` sent.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_last_note(
    db: &mut PgConnection,
    instance: InstanceId,
    event: &str,
    sender: &str,
    now: DateTime<Utc>,
) -> Result<Option<NoteId>, StoreError> {
    let note = sqlx::query_as!(
        NoteId,
        r#"SELECT history_id, at FROM history
            WHERE instance_id = $1 AND kind = 'note' AND event = $2 AND sender = $3 AND at >= $4
            ORDER BY history_id DESC LIMIT 1"#,
        instance.0,
        event,
        sender,
        now - LATEST_NOTES,
    )
    .fetch_optional(db)
    .await?;
    Ok(note)
}

/// Tells more in a note than what was known when it was added; false where it is gone.
///
/// Only for notes, which nothing is decided by: all else in history stays as it was written.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn rewrite_note(
    tx: &mut Tx,
    instance: InstanceId,
    note: NoteId,
    evidence: &Map<String, Value>,
    reason: &str,
) -> Result<bool, StoreError> {
    let rewritten = sqlx::query!(
        "UPDATE history SET evidence = $4, reason = $5
          WHERE instance_id = $1 AND history_id = $2 AND at = $3 AND kind = 'note'",
        instance.0,
        note.history_id,
        note.at,
        Json(evidence) as _,
        reason,
    )
    .execute(&mut **tx)
    .await?;
    Ok(rewritten.rows_affected() == 1)
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

/// How far back the beginning of a boot is looked for. Each day is another partition to look into, and what a board
/// did days ago explains nothing that happens today.
const LONGEST_BOOT: TimeDelta = TimeDelta::days(1);

/// Reads what is known of the board's present boot at `now`, if that began within the last day.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read_boot(
    db: &mut PgConnection,
    instance: InstanceId,
    now: DateTime<Utc>,
) -> Result<Boot, StoreError> {
    Ok(read_boots(db, &[instance], now).await?.remove(&instance).unwrap_or_default())
}

/// The same for many boards; of those whose power was not seen to come on there is nothing.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read_boots(
    db: &mut PgConnection,
    instances: &[InstanceId],
    now: DateTime<Utc>,
) -> Result<BTreeMap<InstanceId, Boot>, StoreError> {
    let instances: Vec<i64> = instances.iter().map(|instance| instance.0).collect();
    // Board by board (`OFFSET 0` says so), by the index whatever the server believes: a plan that was made while
    // today's partition was empty would read all of it.
    let rows = sqlx::query!(
        r#"WITH recent AS MATERIALIZED (
               SELECT h.instance_id, h.history_id, h.at, h.kind, h.event, h.source, h.said_at
                 FROM unnest($1::bigint[]) AS wanted (instance_id),
                      LATERAL (SELECT instance_id, history_id, at, kind, event, source,
                                      CASE WHEN kind = 'note' AND event IN ('asked', 'asked-boot-config', 'fetched')
                                           THEN coalesce((evidence ->> 'at')::timestamptz, at) END AS said_at
                                 FROM history
                                WHERE instance_id = wanted.instance_id AND at >= $2 OFFSET 0) h),
           power AS (
               SELECT DISTINCT ON (instance_id) instance_id, history_id, at FROM recent
                WHERE kind = 'event' AND event IN ('power-cycle-ok', 'power-on-ok')
                ORDER BY instance_id, history_id DESC)
           SELECT power.instance_id AS "instance_id!", power.at AS "powered_at!",
                  min(h.said_at) FILTER (WHERE h.event = 'asked-boot-config') AS asked_at,
                  max(coalesce(h.said_at, h.at)) FILTER (WHERE h.said_at IS NOT NULL OR h.source = 'board') AS heard_at
             FROM power LEFT JOIN recent h ON h.instance_id = power.instance_id AND h.history_id > power.history_id
            GROUP BY power.instance_id, power.at"#,
        &instances,
        now - LONGEST_BOOT,
    )
    .fetch_all(db)
    .await?;
    let boot = |powered_at, asked_at, heard_at| Boot { powered_at: Some(powered_at), asked_at, heard_at };
    Ok(rows
        .into_iter()
        .map(|row| (InstanceId(row.instance_id), boot(row.powered_at, row.asked_at, row.heard_at)))
        .collect())
}

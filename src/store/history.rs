//! What happened to instances, in order: enough to explain each present state and to replay each past one.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
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
    outcome: Option<String>,
    from_state: String,
    to_state: Option<String>,
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

/// The visit before an entry, where nothing says otherwise: most moves enter one state.
fn visit_found(moved: bool, after: Visit) -> Visit {
    if moved { Visit(after.0.saturating_sub(1)) } else { after }
}

fn unreadable(what: &str) -> StoreError {
    StoreError::Statement(sqlx::Error::Decode(format!("a history row without a readable {what}").into()))
}

impl HistoryRow {
    fn told(&self) -> Result<Told, StoreError> {
        let spoken = self.spoken_visit.map(Visit);
        // Our own clockwork speaks of the visit that it found, which is rarely worth a column.
        let found = spoken.unwrap_or_else(|| visit_found(self.outcome.is_none(), Visit(self.visit)));
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
            "began" => Cause::Began { visit: found },
            "deadline" => Cause::Deadline { visit: found },
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
            to: name(StateName::new(row.to_state.as_ref().unwrap_or(&row.from_state)))?,
            from: name(StateName::new(&row.from_state))?,
            outcome: row.outcome.unwrap_or_else(|| "moved".to_owned()),
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
        None => Some("noted"),
        Some(Outcome::Moved { .. }) => None,
        Some(Outcome::Stayed) => Some("stayed"),
        Some(Outcome::Ignored(_)) => Some("ignored"),
    };
    let device = match entry.told {
        Told::Stimulus(stimulus) if !stimulus.device.is_empty() => Some(Json(stimulus.device.clone())),
        Told::Stimulus(_) | Told::Note(_) => None,
    };
    // NULL is what can be told from the rest; the migration says how.
    let is_clockwork = matches!(columns.kind, "began" | "deadline");
    let found = visit_found(outcome.is_none(), entry.visit);
    let spoken_visit = columns.spoken_visit.filter(|spoken| !is_clockwork || *spoken != found.0);
    sqlx::query!(
        "INSERT INTO history (at, instance_id, visit, spoken_visit, kind, from_state, to_state, outcome, event, source,
                              sender, reason, args, device, evidence)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        entry.at,
        entry.instance.0,
        entry.visit.0,
        spoken_visit,
        columns.kind,
        entry.from.as_str(),
        (entry.to != entry.from).then(|| entry.to.as_str()),
        outcome,
        columns.event,
        columns.source,
        entry.sender,
        entry.reason,
        columns.args as _,
        device as _,
        entry.evidence.map(Json) as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Adds one entry for many instances whose `state` was entered anew by its own deadline and kept its actions: which
/// they are, and the visits that began.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
#[tracing::instrument(name = "store.history.append_kept", level = "debug", skip_all)]
pub async fn append_kept(
    tx: &mut Tx,
    at: DateTime<Utc>,
    state: &StateName,
    kept: &[(InstanceId, Visit)],
) -> Result<(), StoreError> {
    let instances: Vec<i64> = kept.iter().map(|(instance, _)| instance.0).collect();
    let visits: Vec<i64> = kept.iter().map(|(_, visit)| visit.0).collect();
    sqlx::query!(
        "INSERT INTO history (at, kind, from_state, instances, visits) VALUES ($1, 'kept', $2, $3, $4)",
        at,
        state.as_str(),
        &instances,
        &visits,
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
                  args AS "args: Json<Map<String, Value>>", device AS "device: Json<Map<String, Value>>",
                  outcome, from_state, to_state, visit AS "visit!", reason,
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
                  args AS "args: Json<Map<String, Value>>", device AS "device: Json<Map<String, Value>>",
                  outcome, from_state AS "from_state!", to_state, visit AS "visit!", reason,
                  evidence AS "evidence: Json<Map<String, Value>>"
             FROM (SELECT history_id, at, kind, event, source, sender, spoken_visit, args, device, outcome, from_state,
                          to_state, visit, reason, evidence
                     FROM history WHERE instance_id = $1
                   UNION ALL
                   SELECT h.history_id, h.at, 'deadline', NULL, NULL, NULL, NULL, NULL, NULL, NULL, h.from_state,
                          NULL, kept.visit, NULL, NULL
                     FROM history h, unnest(h.instances, h.visits) AS kept (instance_id, visit)
                    WHERE h.kind = 'kept' AND kept.instance_id = $1) AS entry
            ORDER BY visit, outcome IS NULL DESC, history_id"#,
        instance.0,
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
               SELECT h.instance_id, h.history_id, h.at, h.kind, h.event, h.source
                 FROM unnest($1::bigint[]) AS wanted (instance_id),
                      LATERAL (SELECT instance_id, history_id, at, kind, event, source FROM history
                                WHERE instance_id = wanted.instance_id AND at >= $2 OFFSET 0) h),
           power AS (
               SELECT DISTINCT ON (instance_id) instance_id, history_id, at FROM recent
                WHERE kind = 'event' AND event IN ('power-cycle-ok', 'power-on-ok')
                ORDER BY instance_id, history_id DESC)
           SELECT power.instance_id AS "instance_id!", power.at AS "powered_at!",
                  min(h.at) FILTER (WHERE h.kind = 'note' AND h.event = 'asked-boot-config') AS asked_at,
                  max(h.at) FILTER (WHERE h.kind = 'note' OR h.source = 'board') AS heard_at
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

//! The log of changes of instances, for caches and followers.
//!
//! Each transaction that changes instances writes one row with its own transaction ID. IDs are assigned before commit, so a
//! lower one may become visible after a higher one, and a reader that stored only the highest would miss it. A
//! [`ChangeCursor`] therefore also holds the lower IDs whose transactions were open. It identifies exactly what was visible,
//! and reading from it returns everything that became visible since, once. A foreign transaction that stays open for hours
//! neither delays readers nor costs them anything.
//!
//! This holds on a primary; a standby does not report which transactions are open.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::ParseIntError;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::instances::{InstanceId, checked_name_of_row};
use super::{DatabaseLife, StoreError, Tx, UnavailableCause};
use crate::machine::{MachineName, Visit};

/// The maximum number of changes in one row: this many fit into one page.
pub const MAX_CHANGES_PER_ROW: usize = 256;

/// The number by which a process recognises its own changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChangeOrigin(pub i64);

/// A change of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceChange {
    /// The instance.
    pub id: InstanceId,
    /// The kind of change.
    pub kind: InstanceChangeKind,
}

/// The kind of a change. The instance's row has the rest, unless it changed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceChangeKind {
    /// The instance was created, or it or its facts changed.
    Written {
        /// Its visit after the change.
        visit: Visit,
        /// Its deadline after the change.
        deadline_at: Option<DateTime<Utc>>,
    },
    /// The instance was removed.
    Removed {
        /// The machine that it was an instance of.
        machine: MachineName,
        /// Its name.
        name: String,
    },
}

/// A change as read from the log, with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedChange {
    /// The process that wrote the change.
    pub origin: Option<ChangeOrigin>,
    /// The change.
    pub change: InstanceChange,
}

/// Changes since a cursor, in the order of transaction IDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesSince {
    /// The changes; an instance may occur several times.
    pub changes: Vec<LoggedChange>,
    /// The cursor to continue from.
    pub cursor: ChangeCursor,
}

/// Identifies exactly the set of changes that was visible at a moment.
///
/// It consists of the greatest visible transaction ID and the lower IDs whose transactions were open. **Equal cursors mean
/// equal sets of changes.** A change is visible if its transaction was committed. Above the greatest ID nothing was visible.
/// Every lower ID had been assigned, so its transaction was either open, and is listed, or had ended, which is final. The
/// reverse does not hold: if an open transaction ends without having changed an instance, equal sets have different cursors.
/// [`is_current`] and [`read`] check exactly whether a set is still the same.
///
/// Both parts survive a crash of the database: the greatest ID was committed durably, so no ID up to it is assigned again.
/// This is not certain for IDs above it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChangeCursor {
    life: i64,
    last: i64,
    open: Vec<i64>,
}

impl ChangeCursor {
    /// Whether the cursor belongs to this life of the database.
    #[must_use]
    pub fn is_of(&self, life: DatabaseLife) -> bool {
        self.life == life.id()
    }

    /// Whether the log of `life`, of which all rows up to `pruned` were deleted, still has all changes since the cursor.
    fn is_within(&self, life: i64, pruned: i64) -> bool {
        self.life == life && pruned <= self.last && self.open.iter().all(|open| *open > pruned)
    }
}

impl fmt::Display for ChangeCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.life, self.last)?;
        self.open.iter().try_for_each(|open| write!(f, "-{open}"))
    }
}

/// The text is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct BadChangeCursor(#[source] Option<ParseIntError>);

impl From<ParseIntError> for BadChangeCursor {
    fn from(error: ParseIntError) -> Self {
        Self(Some(error))
    }
}

impl FromStr for ChangeCursor {
    type Err = BadChangeCursor;

    fn from_str(text: &str) -> Result<Self, BadChangeCursor> {
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or(BadChangeCursor(None));
        let life = u64::from_str_radix(part()?, 16)?.cast_signed();
        let last = part()?.parse()?;
        let open = parts.map(str::parse).collect::<Result<_, _>>()?;
        let cursor = Self { life, last, open };
        // A second spelling would be a second entity tag for the same set.
        if cursor.to_string() == text { Ok(cursor) } else { Err(BadChangeCursor(None)) }
    }
}

/// Draws the number by which a process recognises its own changes.
///
/// It is random: a sequence of the database may be reset by a restored backup.
#[must_use]
pub fn new_origin() -> ChangeOrigin {
    ChangeOrigin(RandomState::new().hash_one(std::process::id()).cast_signed())
}

/// Appends the changes that `tx` made.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn append(tx: &mut Tx, origin: ChangeOrigin, changed: &[InstanceChange]) -> Result<(), StoreError> {
    for chunk in changed.chunks(MAX_CHANGES_PER_ROW) {
        let ids: Vec<i64> = chunk.iter().map(|change| change.id.0).collect();
        let (mut visits, mut deadlines) = (Vec::new(), Vec::new());
        let (mut machines, mut names) = (Vec::new(), Vec::new());
        for InstanceChange { kind, .. } in chunk {
            let (visit, deadline_at, removed) = match kind {
                InstanceChangeKind::Written { visit, deadline_at } => (visit.0, *deadline_at, None),
                InstanceChangeKind::Removed { machine, name } => {
                    (0, None, Some((machine.as_str(), name.as_str())))
                }
            };
            visits.push(visit);
            deadlines.push(deadline_at);
            machines.push(removed.map(|(machine, _)| machine));
            names.push(removed.map(|(_, name)| name));
        }
        let has_removed = names.iter().any(Option::is_some);
        sqlx::query!(
            "INSERT INTO change (xact, origin, instances, visits, deadlines, machines, names)
             VALUES (pg_current_xact_id()::text::bigint, $1, $2, $3, $4, $5, $6)",
            origin.0,
            &ids,
            &visits,
            &deadlines as _,
            has_removed.then_some(machines.as_slice()) as _,
            has_removed.then_some(names.as_slice()) as _,
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Returns the cursor of what is visible now, by reading only the last row of the log.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn current_cursor(db: &mut PgConnection) -> Result<ChangeCursor, StoreError> {
    sqlx::query_as!(
        ChangeCursor,
        r#"SELECT life.life AS "life!", last.xact AS "last!",
                  ARRAY(SELECT open::text::bigint FROM pg_snapshot_xip(pg_current_snapshot()) open
                         WHERE open::text::bigint < last.xact ORDER BY 1) AS "open!"
             FROM present_life life, (SELECT coalesce(max(xact), 0) AS xact FROM change) last"#,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(incomplete)
}

/// Whether nothing became visible since `since`, by reading only the last row of the log and those that were open.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn is_current(db: &mut PgConnection, since: &ChangeCursor) -> Result<bool, StoreError> {
    let row = sqlx::query!(
        r#"SELECT life.life AS "life!", log.forgotten, (SELECT coalesce(max(xact), 0) FROM change) AS "last!",
                  EXISTS (SELECT FROM change WHERE xact = ANY($1)) AS "has_ended!"
             FROM change_log log, present_life life"#,
        &since.open,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(incomplete)?;
    Ok(since.is_within(row.life, row.forgotten) && since.last == row.last && !row.has_ended)
}

/// A row of the log, if there is one, with the state of the log.
struct ChangeRow {
    life: i64,
    /// All rows up to this one were deleted.
    forgotten: i64,
    last: i64,
    open: Vec<i64>,
    origin: Option<i64>,
    instances: Option<Vec<i64>>,
    visits: Option<Vec<i64>>,
    deadlines: Option<Vec<Option<DateTime<Utc>>>>,
    machines: Option<Vec<Option<String>>>,
    names: Option<Vec<Option<String>>>,
}

impl ChangeRow {
    /// Adds the changes of the row to `changes`.
    fn read_into(self, changes: &mut Vec<LoggedChange>) -> Result<(), StoreError> {
        let (Some(ids), Some(visits), Some(deadlines)) = (self.instances, self.visits, self.deadlines) else {
            return Ok(());
        };
        let origin = self.origin.map(ChangeOrigin);
        let mut machines = self.machines.unwrap_or_default().into_iter();
        let mut names = self.names.unwrap_or_default().into_iter();
        for ((id, visit), deadline_at) in ids.into_iter().zip(visits).zip(deadlines) {
            let kind = match (machines.next().flatten(), names.next().flatten()) {
                (Some(machine), Some(name)) => InstanceChangeKind::Removed {
                    machine: checked_name_of_row(MachineName::new(&machine))?,
                    name,
                },
                _ => InstanceChangeKind::Written { visit: Visit(visit), deadline_at },
            };
            changes.push(LoggedChange { origin, change: InstanceChange { id: InstanceId(id), kind } });
        }
        Ok(())
    }
}

/// Reads what became visible since `since`.
///
/// Returns `None` if the log was pruned beyond the cursor, if the cursor belongs to another life of the database, or if there
/// are more than `max_rows` rows: then reading all instances again is cheaper.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read(
    db: &mut PgConnection,
    since: &ChangeCursor,
    max_rows: u16,
) -> Result<Option<ChangesSince>, StoreError> {
    // One statement, so that the rows, the open transactions and the pruned part are of one snapshot. The two parts are
    // separate and ordered, so that each is an index scan with any estimate of the planner for `since`.
    let rows = sqlx::query_as!(
        ChangeRow,
        r#"WITH now AS MATERIALIZED (
               SELECT life.life, log.forgotten, last.xact AS last,
                      ARRAY(SELECT open::text::bigint FROM pg_snapshot_xip(pg_current_snapshot()) open
                             WHERE open::text::bigint < last.xact ORDER BY 1) AS open
                 FROM change_log log, present_life life, (SELECT coalesce(max(xact), 0) AS xact FROM change) last)
           SELECT now.life AS "life!", now.forgotten, now.last AS "last!", now.open AS "open!",
                  new.origin, new.instances AS "instances?", new.visits AS "visits?",
                  new.deadlines AS "deadlines?: Vec<Option<DateTime<Utc>>>",
                  new.machines AS "machines?: Vec<Option<String>>", new.names AS "names?: Vec<Option<String>>"
             FROM now
             LEFT JOIN ((SELECT xact, origin, instances, visits, deadlines, machines, names
                           FROM change WHERE xact = ANY($2) LIMIT $3)
                        UNION ALL
                        (SELECT xact, origin, instances, visits, deadlines, machines, names
                           FROM change WHERE xact > $1 ORDER BY xact LIMIT $3)) new ON true
            ORDER BY new.xact"#,
        since.last,
        &since.open,
        i64::from(max_rows) + 1,
    )
    .fetch_all(db)
    .await?;
    let Some(first) = rows.first() else { return Err(incomplete()) };
    let is_readable = since.is_within(first.life, first.forgotten) && since.last <= first.last;
    if !is_readable || rows.len() > usize::from(max_rows) {
        return Ok(None);
    }
    let cursor = ChangeCursor { life: first.life, last: first.last, open: first.open.clone() };
    let mut changes = Vec::new();
    for row in rows {
        row.read_into(&mut changes)?;
    }
    Ok(Some(ChangesSince { changes, cursor }))
}

/// A table that always has one row is empty: a dump is being restored.
fn incomplete() -> StoreError {
    UnavailableCause::Incomplete.into()
}

/// Deletes all but the newest `keep` rows of the log, and returns how many were deleted.
///
/// Only rows older than every open transaction are deleted, so it is always the beginning of the log that is missing.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn prune(tx: &mut Tx, keep: u32) -> Result<u64, StoreError> {
    let deleted = sqlx::query_scalar!(
        r#"WITH edge AS (SELECT xact FROM change ORDER BY xact DESC OFFSET greatest($1::bigint, 1) LIMIT 1),
                gone AS (DELETE FROM change
                          WHERE xact <= (SELECT xact FROM edge)
                            AND xact < (SELECT max(xact) FROM change)
                            AND xact < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
                      RETURNING xact),
                noted AS (UPDATE change_log SET forgotten = greatest(forgotten, (SELECT max(xact) FROM gone))
                           WHERE EXISTS (SELECT FROM gone))
           SELECT count(*) AS "count!" FROM gone"#,
        i64::from(keep),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u64::try_from(deleted).unwrap_or_default())
}

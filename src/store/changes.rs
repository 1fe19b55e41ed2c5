//! The log of changes: what became of which instance, for those who keep a picture of them.
//!
//! Each transaction that changes instances writes one row, which bears the transaction's own number. Numbers are given
//! out before their transactions commit, so a lower one may become visible after a higher one, and whoever remembered
//! only the highest would never see it. A [`ChangeCursor`] therefore also remembers which lower ones were still open: it
//! says exactly what was visible, and reading on from it gives what became visible since: all of it, once, at once.
//! A transaction of others that stays open for hours delays nothing and costs nothing.
//!
//! This holds on a primary; a standby does not tell which transactions are open.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::ParseIntError;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::instances::{InstanceId, checked_name_of_row};
use super::{DatabaseLife, StoreError, Tx, UnavailableCause};
use crate::machine::{MachineName, Visit};

/// How many changes one row holds at most: so many stay in one page.
pub const MAX_CHANGES_PER_ROW: usize = 256;

/// The number by which a process knows its own changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChangeOrigin(pub i64);

/// What became of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceChange {
    /// Its number.
    pub id: InstanceId,
    /// What it became.
    pub kind: InstanceChangeKind,
}

/// What an instance became; the row itself says the rest, if it has not changed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceChangeKind {
    /// It was made, or it or what is known of it was changed.
    Written {
        /// Its visit after the change.
        visit: Visit,
        /// Its deadline after the change.
        deadline_at: Option<DateTime<Utc>>,
    },
    /// It was removed.
    Removed {
        /// The machine that it was an instance of.
        machine: MachineName,
        /// Its name.
        name: String,
    },
}

/// A change as it was read, and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedChange {
    /// The process that wrote it.
    pub origin: Option<ChangeOrigin>,
    /// The change.
    pub change: InstanceChange,
}

/// What changed since a cursor, in the order of the transactions' numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesSince {
    /// The changes; an instance may be among them several times.
    pub changes: Vec<LoggedChange>,
    /// From where to read on.
    pub cursor: ChangeCursor,
}

/// Exactly which changes of the log have been seen.
///
/// It is the greatest number that was visible, and the numbers below it whose transactions were open then. **Equal
/// cursors mean equal sets of changes.** A change is visible if its transaction has ended and was committed. Above the
/// greatest number nothing was visible. Below it every number had been given out, so its transaction either was open,
/// and then is remembered, or had ended, and how a transaction ended never changes. So the two parts fix for each
/// number whether its change was visible. The reverse does not hold: where a transaction that was open ends without
/// having changed an instance, equal sets have unequal cursors. Whether a set is still the same, [`read`] says exactly.
///
/// Both parts outlive a crash of the database: the greatest number is one that was committed durably, so nothing at or
/// below it is given out again, which is not certain of numbers above it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChangeCursor {
    life: i64,
    last: i64,
    open: Vec<i64>,
}

impl ChangeCursor {
    /// Whether it speaks of this life of the database.
    #[must_use]
    pub fn is_of(&self, life: DatabaseLife) -> bool {
        self.life == life.id()
    }

    /// Whether what changed since is still in the log of `life`, of which all up to `forgotten` is gone.
    fn is_within(&self, life: i64, forgotten: i64) -> bool {
        self.life == life && forgotten <= self.last && self.open.iter().all(|open| *open > forgotten)
    }
}

impl fmt::Display for ChangeCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.life, self.last)?;
        self.open.iter().try_for_each(|open| write!(f, "-{open}"))
    }
}

/// The text is not that of a cursor.
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
        // Another way to write it would be another entity tag for the same.
        if cursor.to_string() == text { Ok(cursor) } else { Err(BadChangeCursor(None)) }
    }
}

/// Draws a number by which a process knows its own changes: at random, as what the database has counted may be forgotten
/// and counted again.
#[must_use]
pub fn new_origin() -> ChangeOrigin {
    ChangeOrigin(RandomState::new().hash_one(std::process::id()).cast_signed())
}

/// Writes down what `tx` changed.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn append(tx: &mut Tx, origin: ChangeOrigin, changed: &[InstanceChange]) -> Result<(), StoreError> {
    for changed in changed.chunks(MAX_CHANGES_PER_ROW) {
        let ids: Vec<i64> = changed.iter().map(|changed| changed.id.0).collect();
        let (mut visits, mut deadlines) = (Vec::new(), Vec::new());
        let (mut machines, mut names) = (Vec::new(), Vec::new());
        for InstanceChange { kind: now, .. } in changed {
            let (visit, deadline_at, removed) = match now {
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

/// Tells which changes are visible at this moment, by reading the log's last entry and no instance.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn current_cursor(db: &mut PgConnection) -> Result<ChangeCursor, StoreError> {
    let row = sqlx::query!(
        r#"SELECT life.life AS "life!", last.xact AS "last!",
                  ARRAY(SELECT open::text::bigint FROM pg_snapshot_xip(pg_current_snapshot()) open
                         WHERE open::text::bigint < last.xact ORDER BY 1) AS "open!"
             FROM present_life life, (SELECT coalesce(max(xact), 0) AS xact FROM change) last"#,
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(incomplete)?;
    Ok(ChangeCursor { life: row.life, last: row.last, open: row.open })
}

/// Whether nothing became visible since `since`, by reading at most the log's last entry and those that were open.
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

/// Reads what became visible since `since`, at most `most` rows of the log. `None` when that cannot be told any more,
/// because the log was forgotten so far or belongs to another life of the database, or when it is more: then it is
/// cheaper to read everything anew.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read(
    db: &mut PgConnection,
    since: &ChangeCursor,
    most: u16,
) -> Result<Option<ChangesSince>, StoreError> {
    // One statement, so that the rows, the open transactions and what was forgotten are those of one snapshot. The two
    // parts are apart and in order, so that each is a walk along the index whatever the planner believes of `since`.
    let rows = sqlx::query!(
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
        i64::from(most) + 1,
    )
    .fetch_all(db)
    .await?;
    let Some(first) = rows.first() else { return Err(incomplete()) };
    let is_forgotten = since.last < first.forgotten || since.open.iter().any(|open| *open <= first.forgotten);
    if since.life != first.life || since.last > first.last || is_forgotten || rows.len() > usize::from(most) {
        return Ok(None);
    }
    let cursor = ChangeCursor { life: first.life, last: first.last, open: first.open.clone() };
    let mut changed = Vec::new();
    for row in rows {
        let (Some(ids), Some(visits), Some(deadlines)) = (row.instances, row.visits, row.deadlines) else {
            continue;
        };
        let origin = row.origin.map(ChangeOrigin);
        let mut machines = row.machines.unwrap_or_default().into_iter();
        let mut names = row.names.unwrap_or_default().into_iter();
        for ((id, visit), deadline_at) in ids.into_iter().zip(visits).zip(deadlines) {
            let now = match (machines.next().flatten(), names.next().flatten()) {
                (Some(machine), Some(removed)) => InstanceChangeKind::Removed {
                    machine: checked_name_of_row(MachineName::new(&machine))?,
                    name: removed,
                },
                _ => InstanceChangeKind::Written { visit: Visit(visit), deadline_at },
            };
            changed.push(LoggedChange { origin, change: InstanceChange { id: InstanceId(id), kind: now } });
        }
    }
    Ok(Some(ChangesSince { changes: changed, cursor }))
}

/// The tables of one row each have none: a dump is being restored.
fn incomplete() -> StoreError {
    UnavailableCause::Incomplete.into()
}

/// Forgets all but the newest `keep` rows of the log, and none that is not older than every transaction that is open:
/// what is forgotten is always the beginning. Says how many were forgotten.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn prune(tx: &mut Tx, keep: u32) -> Result<u64, StoreError> {
    let forgotten = sqlx::query_scalar!(
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
    Ok(u64::try_from(forgotten).unwrap_or_default())
}

//! The log of deadlines that changed without a visible difference: a resting state was re-entered.
//!
//! It is read like the log of [`changes`](super::changes), but only by processes that fire deadlines. A missed row costs
//! work and nothing else: the earlier deadline is fired, which has passed.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::StoreError;
use super::instances::InstanceId;
use crate::machine::Visit;

/// The maximum number of rows read at once; deadlines in the rest are read when the earlier ones fire.
const MAX_ROWS_READ: i64 = 1000;
/// The number of rows kept when the log is pruned.
const MAX_ROWS_KEPT: i64 = 10_000;

/// The rows that have been read: all up to `last`, except those of transactions that were open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadlineChangeCursor {
    last: i64,
    open: Vec<i64>,
}

/// A deadline after an invisible re-entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlineChange {
    /// The instance.
    pub id: InstanceId,
    /// The visit that armed it.
    pub visit: Visit,
    /// When it is due.
    pub deadline_at: Option<DateTime<Utc>>,
}

/// Returns the current end of the log.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn current_cursor(db: &mut PgConnection) -> Result<DeadlineChangeCursor, StoreError> {
    let cursor = sqlx::query_as!(
        DeadlineChangeCursor,
        r#"SELECT last.xact AS "last!",
                  ARRAY(SELECT open::text::bigint FROM pg_snapshot_xip(pg_current_snapshot()) open
                         WHERE open::text::bigint < last.xact ORDER BY 1) AS "open!"
             FROM (SELECT coalesce(max(xact), 0) AS xact FROM deadline_change) last"#,
    )
    .fetch_one(db)
    .await?;
    Ok(cursor)
}

/// A row of the log, if there is one, with the cursor after it.
struct DeadlineChangeRow {
    last: i64,
    open: Vec<i64>,
    instances: Option<Vec<i64>>,
    visits: Option<Vec<i64>>,
    deadlines: Option<Vec<Option<DateTime<Utc>>>>,
}

/// Reads the changes that became visible since `cursor`, and advances it.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read(
    db: &mut PgConnection,
    cursor: &mut DeadlineChangeCursor,
) -> Result<Vec<DeadlineChange>, StoreError> {
    // One statement, so that rows and open transactions are of one snapshot. Both parts are index scans.
    let rows = sqlx::query_as!(
        DeadlineChangeRow,
        r#"WITH now AS MATERIALIZED (
               SELECT last.xact AS last,
                      ARRAY(SELECT open::text::bigint FROM pg_snapshot_xip(pg_current_snapshot()) open
                             WHERE open::text::bigint < last.xact ORDER BY 1) AS open
                 FROM (SELECT coalesce(max(xact), 0) AS xact FROM deadline_change) last)
           SELECT now.last AS "last!", now.open AS "open!", new.instances AS "instances?", new.visits AS "visits?",
                  new.deadlines AS "deadlines?: Vec<Option<DateTime<Utc>>>"
             FROM now
             LEFT JOIN ((SELECT instances, visits, deadlines FROM deadline_change WHERE xact = ANY($2) LIMIT $3)
                        UNION ALL
                        (SELECT instances, visits, deadlines
                           FROM deadline_change WHERE xact > $1 ORDER BY xact LIMIT $3)) new ON true"#,
        cursor.last,
        &cursor.open,
        MAX_ROWS_READ,
    )
    .fetch_all(db)
    .await?;
    let mut changes = Vec::new();
    for row in rows {
        (cursor.last, cursor.open) = (row.last, row.open);
        let (Some(ids), Some(visits), Some(deadlines)) = (row.instances, row.visits, row.deadlines) else {
            continue;
        };
        for ((id, visit), deadline_at) in ids.into_iter().zip(visits).zip(deadlines) {
            changes.push(DeadlineChange { id: InstanceId(id), visit: Visit(visit), deadline_at });
        }
    }
    Ok(changes)
}

/// Deletes all but the newest rows, and returns how many were deleted.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn prune(db: &mut PgConnection) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "DELETE FROM deadline_change WHERE xact <= (SELECT xact FROM deadline_change ORDER BY xact DESC OFFSET $1 LIMIT 1)",
        MAX_ROWS_KEPT,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

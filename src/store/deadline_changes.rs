//! The log of deadlines that moved without any difference that somebody sees: a state at rest was entered anew.
//!
//! It is read as the log of [`changes`](super::changes) is, by processes that fire deadlines and by nobody else. A row that
//! is missed does no harm, only work: the deadline before is fired, which has passed.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::StoreError;
use super::instances::InstanceId;
use crate::machine::Visit;

/// How many rows are read at most; of the rest is learned when it is due.
const MAX_ROWS_READ: i64 = 1000;
/// How many rows are kept.
const MAX_ROWS_KEPT: i64 = 10_000;

/// Which rows have been read: all that were visible up to the last, but for those whose transactions were open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadlineChangeCursor {
    last: i64,
    open: Vec<i64>,
}

/// A deadline as it is after a silent entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlineChange {
    /// Whose it is.
    pub id: InstanceId,
    /// The visit that armed it.
    pub visit: Visit,
    /// When it is due.
    pub deadline_at: Option<DateTime<Utc>>,
}

/// The present end of the log.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn current_cursor(db: &mut PgConnection) -> Result<DeadlineChangeCursor, StoreError> {
    let row = sqlx::query!(
        r#"SELECT last.xact AS "last!",
                  ARRAY(SELECT open::text::bigint FROM pg_snapshot_xip(pg_current_snapshot()) open
                         WHERE open::text::bigint < last.xact ORDER BY 1) AS "open!"
             FROM (SELECT coalesce(max(xact), 0) AS xact FROM rearmed) last"#,
    )
    .fetch_one(db)
    .await?;
    Ok(DeadlineChangeCursor { last: row.last, open: row.open })
}

/// Reads what became visible since `position`, which goes on with it.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read(
    db: &mut PgConnection,
    position: &mut DeadlineChangeCursor,
) -> Result<Vec<DeadlineChange>, StoreError> {
    // One statement, so that rows and open transactions are those of one snapshot; its two parts walk along the index.
    let rows = sqlx::query!(
        r#"WITH now AS MATERIALIZED (
               SELECT last.xact AS last,
                      ARRAY(SELECT open::text::bigint FROM pg_snapshot_xip(pg_current_snapshot()) open
                             WHERE open::text::bigint < last.xact ORDER BY 1) AS open
                 FROM (SELECT coalesce(max(xact), 0) AS xact FROM rearmed) last)
           SELECT now.last AS "last!", now.open AS "open!", new.instances AS "instances?", new.visits AS "visits?",
                  new.deadlines AS "deadlines?: Vec<Option<DateTime<Utc>>>"
             FROM now
             LEFT JOIN ((SELECT instances, visits, deadlines FROM rearmed WHERE xact = ANY($2) LIMIT $3)
                        UNION ALL
                        (SELECT instances, visits, deadlines
                           FROM rearmed WHERE xact > $1 ORDER BY xact LIMIT $3)) new ON true"#,
        position.last,
        &position.open,
        MAX_ROWS_READ,
    )
    .fetch_all(db)
    .await?;
    let mut rearmed = Vec::new();
    for row in rows {
        (position.last, position.open) = (row.last, row.open);
        let (Some(ids), Some(visits), Some(deadlines)) = (row.instances, row.visits, row.deadlines) else {
            continue;
        };
        for ((id, visit), deadline_at) in ids.into_iter().zip(visits).zip(deadlines) {
            rearmed.push(DeadlineChange { id: InstanceId(id), visit: Visit(visit), deadline_at });
        }
    }
    Ok(rearmed)
}

/// Forgets all but the newest rows; says how many were forgotten.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn prune(db: &mut PgConnection) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "DELETE FROM rearmed WHERE xact <= (SELECT xact FROM rearmed ORDER BY xact DESC OFFSET $1 LIMIT 1)",
        MAX_ROWS_KEPT,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

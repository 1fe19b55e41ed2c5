//! The progress of boots, read from history.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;

use super::super::boot::BootProgress;
use crate::store::StoreError;
use crate::store::instances::InstanceId;

/// The maximum age of a boot. Each day is another partition to read, and older boots explain nothing.
const MAX_BOOT_AGE: TimeDelta = TimeDelta::days(1);

/// Reads the progress of a board's present boot, if it began within a day before `now`.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read_boot(
    db: &mut PgConnection,
    instance: InstanceId,
    now: DateTime<Utc>,
) -> Result<BootProgress, StoreError> {
    Ok(read_boots(db, &[instance], now).await?.remove(&instance).unwrap_or_default())
}

/// Reads the progress of many boards; those whose power was not observed to come on are left out.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read_boots(
    db: &mut PgConnection,
    instances: &[InstanceId],
    now: DateTime<Utc>,
) -> Result<BTreeMap<InstanceId, BootProgress>, StoreError> {
    let instances: Vec<i64> = instances.iter().map(|instance| instance.0).collect();
    // `OFFSET 0` forces an index scan for each board: a plan made while today's partition was empty would read all of it.
    let rows = sqlx::query_as!(
        BootRow,
        r#"WITH recent AS MATERIALIZED (
               SELECT h.instance_id, h.history_id, h.at, h.kind, h.event, h.source, h.seen_at
                 FROM unnest($1::bigint[]) AS wanted (instance_id),
                      LATERAL (SELECT instance_id, history_id, at, kind, event, source,
                                      CASE WHEN kind = 'note' AND event IN ('asked', 'asked-boot-config', 'fetched')
                                           THEN coalesce((evidence ->> 'at')::timestamptz, at) END AS seen_at
                                 FROM history
                                WHERE instance_id = wanted.instance_id AND at >= $2 OFFSET 0) h),
           power AS (
               SELECT DISTINCT ON (instance_id) instance_id, history_id, at FROM recent
                WHERE kind = 'event' AND event IN ('power-cycle-ok', 'power-on-ok')
                ORDER BY instance_id, history_id DESC)
           SELECT power.instance_id AS "instance_id!", power.at AS "powered_at!",
                  min(h.seen_at) FILTER (WHERE h.event = 'asked-boot-config') AS asked_at,
                  max(coalesce(h.seen_at, h.at)) FILTER (WHERE h.seen_at IS NOT NULL OR h.source = 'board') AS last_seen_at
             FROM power LEFT JOIN recent h ON h.instance_id = power.instance_id AND h.history_id > power.history_id
            GROUP BY power.instance_id, power.at"#,
        &instances,
        now - MAX_BOOT_AGE,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (InstanceId(row.instance_id), BootProgress::from(row))).collect())
}

struct BootRow {
    instance_id: i64,
    powered_at: DateTime<Utc>,
    asked_at: Option<DateTime<Utc>>,
    last_seen_at: Option<DateTime<Utc>>,
}

impl From<BootRow> for BootProgress {
    fn from(row: BootRow) -> Self {
        let BootRow { instance_id: _, powered_at, asked_at, last_seen_at } = row;
        Self { powered_at: Some(powered_at), asked_at, last_seen_at }
    }
}

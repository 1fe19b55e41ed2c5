//! How far boots got, as history tells it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;

use super::super::boot::BootProgress;
use crate::store::StoreError;
use crate::store::instances::InstanceId;

/// How far back the beginning of a boot is looked for. Each day is another partition to look into, and what a board
/// did days ago explains nothing that happens today.
const MAX_BOOT_AGE: TimeDelta = TimeDelta::days(1);

/// Reads what is known of the board's present boot at `now`, if that began within the last day.
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

/// The same for many boards; of those whose power was not seen to come on there is nothing.
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
        now - MAX_BOOT_AGE,
    )
    .fetch_all(db)
    .await?;
    let boot = |powered_at, asked_at, heard_at| BootProgress {
        powered_at: Some(powered_at),
        asked_at,
        last_seen_at: heard_at,
    };
    Ok(rows
        .into_iter()
        .map(|row| (InstanceId(row.instance_id), boot(row.powered_at, row.asked_at, row.heard_at)))
        .collect())
}

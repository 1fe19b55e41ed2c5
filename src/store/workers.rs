//! Workers, the processes that run actions, and their leases.
//!
//! A lease runs on the database's clock, in real time and not the farm's time: it decides whether a process
//! is alive, and all processes have to agree on that.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::actions::{self, WorkerId};
use super::definitions::ActivationId;
use super::{DatabaseLife, DbConnection, Store, StoreError};

fn as_seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

/// A worker that has just registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerRegistration {
    /// Its ID.
    pub id: WorkerId,
    /// For how long it fires no deadlines.
    pub hold_deadlines_for: Duration,
}

/// Registers a worker with a lease of `lease`.
///
/// It fires no deadlines for as long as no worker was listening before, according to the rows of expired
/// workers, and at most for `max_hold`: boards could not report in that time. Workers that register during
/// the hold observe it as well.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn register(
    store: &Store,
    name: &str,
    lease: Duration,
    max_hold: Duration,
) -> Result<WorkerRegistration, StoreError> {
    let mut tx = store.begin().await?;
    // A lease further ahead than any can be was written before the database's clock was set back.
    let row = sqlx::query!(
        r#"WITH present AS (SELECT clock_timestamp() AS at),
                earlier AS (
                    SELECT max(coalesce(heard_until, lease_until)) AS heard_until,
                           max(deadlines_held_until) AS held_until
                      FROM worker, present WHERE lease_until < present.at + interval '1 minute'
                )
           INSERT INTO worker (name, lease_until, deadlines_held_until)
           SELECT $1, present.at + make_interval(secs => $2),
                  present.at + least(greatest(earlier.held_until - present.at, present.at - earlier.heard_until, '0'),
                                     make_interval(secs => $3))
             FROM present, earlier
           RETURNING worker_id, extract(epoch FROM deadlines_held_until - clock_timestamp())::float8 AS "hold!""#,
        name,
        as_seconds(lease),
        as_seconds(max_hold),
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    // Negative if the hold has passed.
    Ok(WorkerRegistration {
        id: WorkerId(row.worker_id),
        hold_deadlines_for: Duration::try_from_secs_f64(row.hold).unwrap_or_default(),
    })
}

/// The registered workers, as seen by one that renews its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    /// The workers with a valid lease, by ID; the worker itself is among them.
    pub alive: Vec<WorkerId>,
    /// Whether the lease of a worker has expired.
    pub has_expired: bool,
    /// The last activation of a definition.
    pub activation: ActivationId,
    /// The farm time of the longest running worker, unless that is the worker itself.
    pub farm_time: Option<DateTime<Utc>>,
}

/// Reads the farm time of the longest running server; `None` if none ran during the last minute.
///
/// Leases that expired within the last minute count: the database may have been unavailable.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_farm_time(db: &mut DbConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    // A lease further ahead than any can be was written before the database's clock was set back.
    let time = sqlx::query_scalar!(
        r#"SELECT clock_timestamp() + make_interval(secs => clock_offset_s) AS "time!" FROM worker
            WHERE lease_until > clock_timestamp() - interval '1 minute'
              AND lease_until < clock_timestamp() + interval '1 minute'
              AND clock_offset_s IS NOT NULL
            ORDER BY uptime_s DESC NULLS LAST, worker_id LIMIT 1"#,
    )
    .fetch_optional(db)
    .await?;
    Ok(time)
}

/// The status that a worker reports with its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its farm time.
    pub now: DateTime<Utc>,
    /// The uptime of its process.
    pub running_for: Duration,
    /// Whether it accepts reports; it does not while it stops.
    pub is_listening: bool,
}

/// Renews the lease of `worker` for `lease` from now, stores its status, and returns its peers.
///
/// Returns `None` if the lease has expired, as others may have taken over, or if the database is no longer in the `life` in
/// which the worker registered.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn renew(
    db: &mut DbConnection,
    worker: WorkerId,
    life: DatabaseLife,
    lease: Duration,
    WorkerStatus { now, running_for, is_listening }: WorkerStatus,
) -> Result<Option<Peers>, StoreError> {
    let rows = sqlx::query!(
        r#"WITH renewed AS (
               UPDATE worker SET lease_until = clock_timestamp() + make_interval(secs => $2),
                                 clock_offset_s = extract(epoch FROM $3 - clock_timestamp())::float8,
                                 uptime_s = $5,
                                 heard_until = CASE WHEN $6 THEN clock_timestamp() + make_interval(secs => $2)
                                                    ELSE least(heard_until, clock_timestamp()) END
                WHERE worker_id = $1 AND lease_until > clock_timestamp()
                  AND (SELECT life FROM present_life) = $4
            RETURNING worker_id
           )
           SELECT worker_id, lease_until > clock_timestamp() AS "is_alive!",
                  worker_id IN (SELECT worker_id FROM renewed) AS "is_renewed!",
                  clock_timestamp() + make_interval(secs => clock_offset_s) AS time,
                  CASE worker_id WHEN $1 THEN $5 ELSE coalesce(uptime_s, 0) END AS "uptime_s!",
                  (SELECT coalesce(max(activation_id), 0) FROM activation) AS "activation!"
             FROM worker ORDER BY worker_id"#,
        worker.0,
        as_seconds(lease),
        now,
        life.id(),
        as_seconds(running_for),
        is_listening,
    )
    .fetch_all(db)
    .await?;
    if !rows.iter().any(|row| row.is_renewed) {
        return Ok(None);
    }
    let alive = rows.iter().filter(|row| row.is_alive).map(|row| WorkerId(row.worker_id)).collect();
    let activation = ActivationId(rows.first().map_or(0, |row| row.activation));
    let candidates =
        rows.iter().filter(|row| row.is_alive && (row.time.is_some() || row.worker_id == worker.0));
    // The first of several with equal uptime.
    let oldest = candidates.rev().max_by(|left, right| left.uptime_s.total_cmp(&right.uptime_s));
    let time = oldest.filter(|row| row.worker_id != worker.0).and_then(|row| row.time);
    Ok(Some(Peers { alive, has_expired: rows.iter().any(|row| !row.is_alive), activation, farm_time: time }))
}

/// Ends the lease of a stopped worker and releases its actions for others.
///
/// Does nothing if the database is no longer in the `life` in which the worker registered. The row stays until another worker
/// [reclaims](reclaim_expired) it: from the last one, the next worker to register learns since when none was listening. The
/// clock offset is cleared, as servers are stopped to correct clocks.
///
/// # Errors
///
/// [`StoreError`] when a statement fails; nothing was changed.
pub async fn retire(
    store: &Store,
    worker: WorkerId,
    life: DatabaseLife,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    if !life.is_present(&mut tx).await? {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE worker SET lease_until = least(lease_until, clock_timestamp()),
                           heard_until = least(heard_until, clock_timestamp()), clock_offset_s = NULL
          WHERE worker_id = $1",
        worker.0,
    )
    .execute(&mut *tx)
    .await?;
    actions::hand_back(&mut tx, &[worker], None, now).await?;
    super::hint(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Lists the leases that end later than `lease` from now: the database's clock was set back since they were renewed.
///
/// A live worker renews its lease soon.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_leases_ahead(
    store: &Store,
    lease: Duration,
) -> Result<Vec<(WorkerId, DateTime<Utc>)>, StoreError> {
    let rows = sqlx::query_as!(
        LeaseRow,
        "SELECT worker_id, lease_until FROM worker WHERE lease_until > clock_timestamp() + make_interval(secs => $1)",
        as_seconds(lease),
    )
    .fetch_all(&mut *store.reader().await?)
    .await?;
    Ok(rows.into_iter().map(|row| (WorkerId(row.worker_id), row.lease_until)).collect())
}

struct LeaseRow {
    worker_id: i64,
    lease_until: DateTime<Utc>,
}

/// Removes workers whose lease has expired and releases their actions, and returns their names.
///
/// Workers of `silent` count as expired if their lease still ends later than `lease` from now: they did not renew it after the
/// database's clock was set back.
///
/// # Errors
///
/// [`StoreError`] when a statement fails; nothing was changed.
pub async fn reclaim_expired(
    store: &Store,
    silent: &[WorkerId],
    lease: Duration,
    now: DateTime<Utc>,
) -> Result<Vec<String>, StoreError> {
    let silent: Vec<i64> = silent.iter().map(|worker| worker.0).collect();
    let mut tx = store.begin().await?;
    let expired = sqlx::query!(
        "SELECT worker_id, name FROM worker
          WHERE lease_until <= clock_timestamp()
             OR (worker_id = ANY($1) AND lease_until > clock_timestamp() + make_interval(secs => $2))
          ORDER BY worker_id FOR UPDATE SKIP LOCKED",
        &silent,
        as_seconds(lease),
    )
    .fetch_all(&mut *tx)
    .await?;
    let (ids, names): (Vec<_>, Vec<_>) = expired.into_iter().map(|row| (row.worker_id, row.name)).unzip();
    if !ids.is_empty() {
        let expired: Vec<WorkerId> = ids.iter().copied().map(WorkerId).collect();
        actions::hand_back(&mut tx, &expired, None, now).await?;
        sqlx::query!("DELETE FROM worker WHERE worker_id = ANY($1)", &ids).execute(&mut *tx).await?;
        super::hint(&mut tx).await?;
        tx.commit().await?;
    }
    Ok(names)
}

//! The processes that carry actions out, and their leases.
//!
//! A lease runs on the database's clock, real time whatever the farm's clock does: it says whether a process lives, and
//! all processes must agree on it.

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
    /// Its number.
    pub id: WorkerId,
    /// For how long it lets no deadline pass.
    pub hold_deadlines_for: Duration,
}

/// Registers a worker whose lease holds for `lease`.
///
/// Deadlines are held for as long as no worker listened before, by what the dead have left, but for `longest_hold` at most:
/// meanwhile nobody could report anything. Whoever registers during that time holds them as well.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn register(
    store: &Store,
    name: &str,
    lease: Duration,
    longest_hold: Duration,
) -> Result<WorkerRegistration, StoreError> {
    let mut tx = store.begin().await?;
    // A lease that promises more than any does was given before the database's clock was put back.
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
        as_seconds(longest_hold),
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    // What has passed since is less than nothing.
    Ok(WorkerRegistration {
        id: WorkerId(row.worker_id),
        hold_deadlines_for: Duration::try_from_secs_f64(row.hold).unwrap_or_default(),
    })
}

/// Those who are registered, as a worker that renews its lease sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    /// Whose lease holds, by number; the worker itself is among them.
    pub alive: Vec<WorkerId>,
    /// Whether there is one whose lease ran out.
    pub has_expired: bool,
    /// Since when what is in force is.
    pub activation: ActivationId,
    /// The time of the one that has been running for longest, unless that is the worker itself.
    pub farm_time: Option<DateTime<Utc>>,
}

/// The time of the servers that run, as the one tells it that has been running for longest; `None` where none has run for
/// the last minute. The database may have been away, so that no lease holds.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_farm_time(db: &mut DbConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    // A lease that promises more than any does was given before the database's clock was put back.
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

/// How a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its time.
    pub now: DateTime<Utc>,
    /// For how long its process has been running.
    pub running_for: Duration,
    /// Whether others can report to it: not any more while it stops.
    pub is_listening: bool,
}

/// Makes the lease hold for `lease` from now, tells how this worker is, and says who else is there; `None` when it has run out
/// already and others may have taken over, or when the database is not in the `life` any more in which the worker registered.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn renew(
    db: &mut DbConnection,
    worker: WorkerId,
    life: DatabaseLife,
    lease: Duration,
    WorkerStatus { now, running_for: uptime, is_listening: listens }: WorkerStatus,
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
                  (SELECT coalesce(max(adoption_id), 0) FROM adoption) AS "adoption!"
             FROM worker ORDER BY worker_id"#,
        worker.0,
        as_seconds(lease),
        now,
        life.id(),
        as_seconds(uptime),
        listens,
    )
    .fetch_all(db)
    .await?;
    if !rows.iter().any(|row| row.is_renewed) {
        return Ok(None);
    }
    let alive = rows.iter().filter(|row| row.is_alive).map(|row| WorkerId(row.worker_id)).collect();
    let adoption = ActivationId(rows.first().map_or(0, |row| row.adoption));
    let candidates =
        rows.iter().filter(|row| row.is_alive && (row.time.is_some() || row.worker_id == worker.0));
    // The first of those that are equal.
    let oldest = candidates.rev().max_by(|one, other| one.uptime_s.total_cmp(&other.uptime_s));
    let time = oldest.filter(|row| row.worker_id != worker.0).and_then(|row| row.time);
    Ok(Some(Peers {
        alive,
        has_expired: rows.iter().any(|row| !row.is_alive),
        activation: adoption,
        farm_time: time,
    }))
}

/// Ends the lease of a worker that has stopped and puts its actions back to be handed out; nothing where the database is not
/// in the `life` any more in which the worker registered.
///
/// Its row stays until another worker [buries](reclaim_expired) it: by the last one's, whoever registers next learns since when nobody
/// listened. It tells no time any more: people stop servers to put clocks right.
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

/// Lists the leases that promise more than `lease` from now, by the database's clock: it was put back since they were
/// renewed. Who lives renews them soon.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_leases_ahead(
    store: &Store,
    lease: Duration,
) -> Result<Vec<(WorkerId, DateTime<Utc>)>, StoreError> {
    let rows = sqlx::query!(
        "SELECT worker_id, lease_until FROM worker WHERE lease_until > clock_timestamp() + make_interval(secs => $1)",
        as_seconds(lease),
    )
    .fetch_all(&mut *store.reader().await?)
    .await?;
    Ok(rows.into_iter().map(|row| (WorkerId(row.worker_id), row.lease_until)).collect())
}

/// Removes the workers whose lease ran out, and those of `silent` whose lease still promises more than `lease` from now,
/// and puts their actions back; says how many workers that were.
///
/// # Errors
///
/// [`StoreError`] when a statement fails; nothing was changed.
pub async fn reclaim_expired(
    store: &Store,
    silent: &[WorkerId],
    lease: Duration,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let silent: Vec<i64> = silent.iter().map(|worker| worker.0).collect();
    let mut tx = store.begin().await?;
    let dead = sqlx::query_scalar!(
        "SELECT worker_id FROM worker
          WHERE lease_until <= clock_timestamp()
             OR (worker_id = ANY($1) AND lease_until > clock_timestamp() + make_interval(secs => $2))
          ORDER BY worker_id FOR UPDATE SKIP LOCKED",
        &silent,
        as_seconds(lease),
    )
    .fetch_all(&mut *tx)
    .await?;
    let dead: Vec<WorkerId> = dead.into_iter().map(WorkerId).collect();
    if !dead.is_empty() {
        // What they were doing is handed back first.
        actions::hand_back(&mut tx, &dead, None, now).await?;
        let dead: Vec<i64> = dead.iter().map(|worker| worker.0).collect();
        sqlx::query!("DELETE FROM worker WHERE worker_id = ANY($1)", &dead).execute(&mut *tx).await?;
        super::hint(&mut tx).await?;
        tx.commit().await?;
    }
    Ok(dead.len())
}

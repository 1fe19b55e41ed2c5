//! The processes that carry actions out, and their leases.
//!
//! A lease runs on the database's clock, real time whatever the farm's clock does: it says whether a process lives, and
//! all processes must agree on it.

use std::time::Duration;

use super::actions::{self, WorkerId};
use super::definitions::AdoptionId;
use super::{Connection, Store, StoreError, Tx};

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

/// Registers a worker whose lease holds for `lease`.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn register(store: &Store, name: &str, lease: Duration) -> Result<WorkerId, StoreError> {
    let id = sqlx::query_scalar!(
        "INSERT INTO worker (name, lease_until)
         VALUES ($1, clock_timestamp() + make_interval(secs => $2)) RETURNING worker_id",
        name,
        seconds(lease),
    )
    .fetch_one(&mut *store.reader().await?)
    .await?;
    Ok(WorkerId(id))
}

/// Those who are registered, as a worker that renews its lease sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Colleagues {
    /// Whose lease holds, by number; the worker itself is among them.
    pub alive: Vec<WorkerId>,
    /// Whether there is one whose lease ran out.
    pub has_dead: bool,
    /// Since when what is in force is.
    pub adoption: AdoptionId,
}

/// Makes the lease hold for `lease` from now, and says who else is there; `None` when it has run out already and others
/// may have taken over.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn renew(
    db: &mut Connection,
    worker: WorkerId,
    lease: Duration,
) -> Result<Option<Colleagues>, StoreError> {
    let rows = sqlx::query!(
        r#"WITH renewed AS (
               UPDATE worker SET lease_until = clock_timestamp() + make_interval(secs => $2)
                WHERE worker_id = $1 AND lease_until > clock_timestamp()
            RETURNING worker_id
           )
           SELECT worker_id, lease_until > clock_timestamp() AS "is_alive!",
                  worker_id IN (SELECT worker_id FROM renewed) AS "is_renewed!",
                  (SELECT coalesce(max(adoption_id), 0) FROM adoption) AS "adoption!"
             FROM worker ORDER BY worker_id"#,
        worker.0,
        seconds(lease),
    )
    .fetch_all(db)
    .await?;
    if !rows.iter().any(|row| row.is_renewed) {
        return Ok(None);
    }
    let alive = rows.iter().filter(|row| row.is_alive).map(|row| WorkerId(row.worker_id)).collect();
    let adoption = AdoptionId(rows.first().map_or(0, |row| row.adoption));
    Ok(Some(Colleagues { alive, has_dead: rows.iter().any(|row| !row.is_alive), adoption }))
}

/// Removes a worker that has stopped and puts its actions back to be handed out.
///
/// # Errors
///
/// [`StoreError`] when a statement fails; nothing was changed.
pub async fn retire(store: &Store, worker: WorkerId) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    sqlx::query!("SELECT worker_id FROM worker WHERE worker_id = $1 FOR UPDATE", worker.0)
        .fetch_optional(&mut *tx)
        .await?;
    remove(&mut tx, &[worker]).await?;
    tx.commit().await?;
    Ok(())
}

/// Removes the workers whose lease ran out and puts their actions back; says how many workers that were.
///
/// # Errors
///
/// [`StoreError`] when a statement fails; nothing was changed.
pub async fn bury(store: &Store) -> Result<usize, StoreError> {
    let mut tx = store.begin().await?;
    let dead = sqlx::query_scalar!(
        "SELECT worker_id FROM worker WHERE lease_until <= clock_timestamp()
          ORDER BY worker_id FOR UPDATE SKIP LOCKED",
    )
    .fetch_all(&mut *tx)
    .await?;
    let dead: Vec<WorkerId> = dead.into_iter().map(WorkerId).collect();
    if !dead.is_empty() {
        remove(&mut tx, &dead).await?;
        tx.commit().await?;
    }
    Ok(dead.len())
}

/// Removes workers; what they were doing is handed back first.
async fn remove(tx: &mut Tx, workers: &[WorkerId]) -> Result<(), StoreError> {
    actions::hand_back(tx, workers, None).await?;
    let ids: Vec<i64> = workers.iter().map(|worker| worker.0).collect();
    sqlx::query!("DELETE FROM worker WHERE worker_id = ANY($1)", &ids).execute(&mut **tx).await?;
    super::hint(tx).await
}

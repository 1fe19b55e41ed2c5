//! The actions that a worker runs, and how it hands them back.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::super::instances::InstanceId;
use super::super::{StoreError, Tx};
use super::action::{ActionId, WorkerId};

/// Lists the actions that `worker` is running.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_running(db: &mut PgConnection, worker: WorkerId) -> Result<Vec<ActionId>, StoreError> {
    let ids = sqlx::query_scalar!("SELECT action_id FROM action WHERE worker_id = $1", worker.0)
        .fetch_all(db)
        .await?;
    Ok(ids.into_iter().map(ActionId).collect())
}

/// Releases the running actions of `workers`, or only `actions` of them, at `now`: they wait to be started again.
///
/// Cancelled actions are deleted; one that has a compensation is replaced by it, as its end was not observed.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn hand_back(
    tx: &mut Tx,
    workers: &[WorkerId],
    actions: Option<&[ActionId]>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let workers: Vec<i64> = workers.iter().map(|worker| worker.0).collect();
    let actions: Option<Vec<i64>> = actions.map(|actions| actions.iter().map(|action| action.0).collect());
    // Everywhere, resources are locked before instances. The settle time runs after this release, too.
    sqlx::query!(
        "UPDATE resource r SET released_at = $3
           FROM (SELECT l.name FROM resource l
                  WHERE l.name IN (SELECT g.value ->> 'resource' FROM action, jsonb_array_elements(granted) g
                                    WHERE granted IS NOT NULL AND worker_id = ANY($1)
                                      AND ($2::bigint[] IS NULL OR action_id = ANY($2)))
                  ORDER BY l.name COLLATE \"C\" FOR UPDATE) locked
          WHERE r.name = locked.name",
        &workers,
        actions.as_deref(),
        now,
    )
    .execute(&mut **tx)
    .await?;
    // What they were doing may have had its effect until now.
    sqlx::query!(
        "SELECT cool_units(ARRAY(SELECT action_id FROM action
                                  WHERE worker_id = ANY($1) AND ($2::bigint[] IS NULL OR action_id = ANY($2))), $3)",
        &workers,
        actions.as_deref(),
        now,
    )
    .execute(&mut **tx)
    .await?;
    // Earlier decisions on these instances are not applied then.
    let instances = sqlx::query_scalar!(
        "SELECT instance_id FROM instance
          WHERE instance_id IN (SELECT instance_id FROM action
                                 WHERE worker_id = ANY($1) AND ($2::bigint[] IS NULL OR action_id = ANY($2)))
          ORDER BY instance_id FOR UPDATE",
        &workers,
        actions.as_deref(),
    )
    .fetch_all(&mut **tx)
    .await?;
    let instances: Vec<InstanceId> = instances.into_iter().map(InstanceId).collect();
    super::super::instances::touch(tx, &instances).await?;
    sqlx::query!(
        "UPDATE action
            SET action = compensation, compensation = NULL, limit_ms = NULL, cancelled = false, rescue = true
          WHERE worker_id = ANY($1) AND ($2::bigint[] IS NULL OR action_id = ANY($2))
            AND cancelled AND compensation IS NOT NULL
            AND EXISTS (SELECT FROM instance i WHERE i.instance_id = action.instance_id)",
        &workers,
        actions.as_deref(),
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "DELETE FROM action
          WHERE worker_id = ANY($1) AND ($2::bigint[] IS NULL OR action_id = ANY($2)) AND cancelled",
        &workers,
        actions.as_deref(),
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE action SET status = 'WAITING', worker_id = NULL, began_at = NULL, granted = NULL, granted_at = NULL
          WHERE worker_id = ANY($1) AND ($2::bigint[] IS NULL OR action_id = ANY($2))",
        &workers,
        actions.as_deref(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Restarts an instance's `action` if it runs as the last one of its visit, because its facts have changed.
///
/// The running one is cancelled and a copy of it waits; a waiting one is no longer suspended.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn restart(
    tx: &mut Tx,
    instance: InstanceId,
    action: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "WITH cancelled AS (
             UPDATE action a SET cancelled = true
              WHERE a.instance_id = $1 AND a.action = $2 AND a.status = 'RUNNING' AND NOT a.cancelled AND NOT a.rescue
                AND NOT EXISTS (SELECT FROM action b WHERE b.instance_id = a.instance_id AND b.visit = a.visit
                                                       AND b.seq > a.seq)
          RETURNING instance_id, visit, seq, action, settings, limit_ms, place, compensation, claims, queue
         )
         INSERT INTO action (instance_id, visit, seq, action, settings, limit_ms, place, compensation, claims, queue,
                             status, asked_at)
         SELECT instance_id, visit, seq + 1, action, settings, limit_ms, place, compensation, claims, queue, 'WAITING', $3
           FROM cancelled",
        instance.0,
        action,
        now,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE action SET trouble = NULL
          WHERE instance_id = $1 AND action = $2 AND status = 'WAITING' AND trouble IS NOT NULL",
        instance.0,
        action,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Lists the cancelled actions that `worker` is still running.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_cancelled(db: &mut PgConnection, worker: WorkerId) -> Result<Vec<ActionId>, StoreError> {
    let ids =
        sqlx::query_scalar!("SELECT action_id FROM action WHERE worker_id = $1 AND cancelled", worker.0)
            .fetch_all(db)
            .await?;
    Ok(ids.into_iter().map(ActionId).collect())
}

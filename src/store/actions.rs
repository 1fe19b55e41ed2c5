//! What is still to be done or being done in the world.
//!
//! ```text
//!            insert            start             delete_ended
//! (entering) ──────▶ WAITING ─────────▶ RUNNING ──────────────▶ (history)
//!                       ▲                 │
//!                       └─────────────────┘ the worker died or stopped
//! ```
//!
//! Leaving a state deletes what waits and marks what runs as cancelled; a cancelled action keeps its place until its
//! worker says that it has really stopped.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::instances::{InstanceId, name};
use super::{StoreError, Tx};
use crate::machine::{ActionName, Invoke, Visit};

/// An action's number in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub i64);

/// A worker's number in the database. A worker whose lease ran out never comes back: it registers anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerId(pub i64);

/// An action to be written with its transition.
#[derive(Debug, Clone)]
pub struct NewAction {
    /// What to do.
    pub invoke: Invoke,
    /// What it holds while it runs, so that nobody else does.
    pub place: Option<String>,
}

/// An action that runs.
#[derive(Debug, Clone)]
pub struct RunningAction {
    /// Its number.
    pub id: ActionId,
    /// Whose it is.
    pub instance: InstanceId,
    /// The visit that asked for it: the present one, or an earlier one of a state that keeps its actions.
    pub visit: Visit,
    /// Whether it only makes up for an action whose visit has ended.
    pub is_rescue: bool,
    /// Which action.
    pub action: ActionName,
    /// Settings from the definition.
    pub settings: Map<String, Value>,
    /// The longest it may take, where the definition says so.
    pub limit: Option<Duration>,
    /// What it holds while it runs.
    pub place: Option<String>,
}

impl RunningAction {
    /// The visit that it speaks for while it is not cancelled and its instance is in visit `present`.
    ///
    /// Leaving a state cancels its actions in the same transaction, so what is not cancelled is the present visit's,
    /// however often the state has been entered anew since it was asked for.
    #[must_use]
    pub fn speaks_for(&self, present: Visit) -> Visit {
        if self.is_rescue { self.visit } else { present }
    }
}

/// An action that may be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Startable {
    /// Its number.
    pub id: ActionId,
    /// Whose it is.
    pub instance: InstanceId,
}

/// An action as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAction {
    /// Which action.
    pub action: String,
    /// `WAITING` or `RUNNING`.
    pub status: String,
    /// Whether its visit has ended and it is being stopped.
    pub cancelled: bool,
    /// What it needs for itself.
    pub place: Option<String>,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
    /// When it began to run.
    pub began_at: Option<DateTime<Utc>>,
    /// How many are before it at its place.
    pub ahead: i64,
}

struct RunningRow {
    action_id: i64,
    instance_id: i64,
    visit: i64,
    rescue: bool,
    action: String,
    settings: Json<Map<String, Value>>,
    limit_ms: Option<i64>,
    place: Option<String>,
}

impl TryFrom<RunningRow> for RunningAction {
    type Error = StoreError;

    fn try_from(row: RunningRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: ActionId(row.action_id),
            instance: InstanceId(row.instance_id),
            visit: Visit(row.visit),
            is_rescue: row.rescue,
            action: name(ActionName::new(&row.action))?,
            settings: row.settings.0,
            limit: row.limit_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
            place: row.place,
        })
    }
}

/// Writes the actions of a visit, in their order.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn insert(
    tx: &mut Tx,
    instance: InstanceId,
    visit: Visit,
    actions: &[NewAction],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let names: Vec<String> = actions.iter().map(|new| new.invoke.action.to_string()).collect();
    let settings: Vec<Value> = actions.iter().map(|new| Value::Object(new.invoke.with.clone())).collect();
    let limits: Vec<Option<i64>> = actions
        .iter()
        .map(|new| new.invoke.limit.map(|limit| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)))
        .collect();
    let places: Vec<Option<String>> = actions.iter().map(|new| new.place.clone()).collect();
    sqlx::query!(
        "INSERT INTO action (instance_id, visit, seq, action, settings, limit_ms, place, status, asked_at)
         SELECT $1, $2, new.seq, new.action, new.settings, new.limit_ms, new.place, 'WAITING', $7
           FROM unnest($3::text[], $4::jsonb[], $5::bigint[], $6::text[])
                WITH ORDINALITY AS new (action, settings, limit_ms, place, seq)
          ORDER BY new.seq",
        instance.0,
        visit.0,
        &names,
        &settings,
        &limits as _,
        &places as _,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes what the list of actions that `visit` asked for still has to do and marks what of it runs as cancelled.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn cancel(tx: &mut Tx, instance: InstanceId, visit: Visit) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM action WHERE instance_id = $1 AND visit = $2 AND status = 'WAITING'",
        instance.0,
        visit.0,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE action SET cancelled = true WHERE instance_id = $1 AND visit = $2",
        instance.0,
        visit.0
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The same for everything that the instance's state asked for, whichever visits those were, because it is left.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn cancel_state(tx: &mut Tx, instance: InstanceId) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM action WHERE instance_id = $1 AND status = 'WAITING' AND NOT rescue",
        instance.0,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE action SET cancelled = true WHERE instance_id = $1 AND NOT cancelled AND NOT rescue",
        instance.0,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether anything that the instance's state asked for is still to be done or being done.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn has_live(tx: &mut Tx, instance: InstanceId) -> Result<bool, StoreError> {
    let has_live = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM action WHERE instance_id = $1 AND NOT cancelled AND NOT rescue) AS "live!""#,
        instance.0,
    );
    Ok(has_live.fetch_one(&mut **tx).await?)
}

/// Deletes all that an instance still has to do, rescue included, and marks what runs as cancelled, because it goes.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn cancel_all(tx: &mut Tx, instance: InstanceId) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM action WHERE instance_id = $1 AND status = 'WAITING'", instance.0)
        .execute(&mut **tx)
        .await?;
    sqlx::query!("UPDATE action SET cancelled = true WHERE instance_id = $1", instance.0)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Lists at most `most` actions that may be started: the first of their visit, with nothing of their instance before
/// them, at a place that nobody holds; one for each place, the oldest first.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_startable(db: &mut PgConnection, most: i64) -> Result<Vec<Startable>, StoreError> {
    let rows = sqlx::query!(
        "SELECT action_id, instance_id FROM (
             SELECT DISTINCT ON (coalesce(a.place, '#' || a.action_id)) a.action_id, a.instance_id
               FROM action a
              WHERE a.status = 'WAITING'
                AND NOT EXISTS (SELECT FROM action b
                                 WHERE b.instance_id = a.instance_id AND (b.visit, b.seq) < (a.visit, a.seq))
                AND NOT EXISTS (SELECT FROM action r WHERE r.place = a.place AND r.status = 'RUNNING')
              ORDER BY coalesce(a.place, '#' || a.action_id), a.action_id) first
          ORDER BY action_id LIMIT $1",
        most,
    )
    .fetch_all(db)
    .await?;
    let startable = |id, instance| Startable { id: ActionId(id), instance: InstanceId(instance) };
    Ok(rows.into_iter().map(|row| startable(row.action_id, row.instance_id)).collect())
}

/// Takes a waiting action and its place; `None` when it is not there any more, or waits no more.
///
/// # Errors
///
/// [`StoreError::Constraint`] `action_place` when somebody else holds its place: `tx` is of no more use.
pub async fn start(
    tx: &mut Tx,
    action: ActionId,
    worker: WorkerId,
    now: DateTime<Utc>,
) -> Result<Option<RunningAction>, StoreError> {
    let row = sqlx::query_as!(
        RunningRow,
        r#"UPDATE action SET status = 'RUNNING', worker_id = $2, began_at = $3
            WHERE action_id = $1 AND status = 'WAITING' AND NOT cancelled
        RETURNING action_id, instance_id, visit, rescue, action, settings AS "settings: Json<Map<String, Value>>", limit_ms,
                  place"#,
        action.0,
        worker.0,
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(RunningAction::try_from).transpose()
}

/// Deletes a waiting action that nobody wants any more: its visit has ended, or its instance is gone.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn delete_unwanted(tx: &mut Tx, action: ActionId) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM action a
          WHERE a.action_id = $1 AND a.status = 'WAITING'
            AND (a.cancelled OR NOT EXISTS (SELECT FROM instance i WHERE i.instance_id = a.instance_id))",
        action.0,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// How an action stood when its end was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It ran, and its state had not been left.
    Running,
    /// Its state had been left.
    Cancelled,
    /// It had been taken from the worker, whose lease ran out.
    Lost,
}

/// Deletes an action that `worker` has ended.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn delete_ended(tx: &mut Tx, action: ActionId, worker: WorkerId) -> Result<Ended, StoreError> {
    let cancelled = sqlx::query_scalar!(
        "DELETE FROM action WHERE action_id = $1 AND worker_id = $2 RETURNING cancelled",
        action.0,
        worker.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(match cancelled {
        None => Ended::Lost,
        Some(true) => Ended::Cancelled,
        Some(false) => Ended::Running,
    })
}

/// Finds the visit's next action that waits, if it is to be done at the place that `ended` held; one at another place
/// waits for its turn there.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_next(tx: &mut Tx, ended: &RunningAction) -> Result<Option<ActionId>, StoreError> {
    let next = sqlx::query!(
        "SELECT action_id, place FROM action WHERE instance_id = $1 AND visit = $2 AND status = 'WAITING'
          ORDER BY seq LIMIT 1",
        ended.instance.0,
        ended.visit.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(next
        .filter(|next| next.place.is_none() || next.place == ended.place)
        .map(|next| ActionId(next.action_id)))
}

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

/// Takes what `workers` were doing from them, or only `actions` of it: it waits to be started again, but for what was
/// cancelled, which goes.
///
/// A power cycle that was cancelled and not seen to end may have left its board without power, so what is left of it
/// is to switch power on.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn hand_back(
    tx: &mut Tx,
    workers: &[WorkerId],
    actions: Option<&[ActionId]>,
) -> Result<(), StoreError> {
    let workers: Vec<i64> = workers.iter().map(|worker| worker.0).collect();
    // Whoever leaves a state cancels under the instance's lock, and must find the actions either running or waiting.
    sqlx::query!(
        "SELECT FROM instance
          WHERE instance_id IN (SELECT instance_id FROM action WHERE worker_id = ANY($1))
          ORDER BY instance_id FOR UPDATE",
        &workers,
    )
    .execute(&mut **tx)
    .await?;
    let actions: Option<Vec<i64>> = actions.map(|actions| actions.iter().map(|action| action.0).collect());
    sqlx::query!(
        "UPDATE action SET action = 'power-on', limit_ms = NULL, cancelled = false, rescue = true
          WHERE worker_id = ANY($1) AND ($2::bigint[] IS NULL OR action_id = ANY($2))
            AND cancelled AND action = 'power-cycle'
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
        "UPDATE action SET status = 'WAITING', worker_id = NULL, began_at = NULL
          WHERE worker_id = ANY($1) AND ($2::bigint[] IS NULL OR action_id = ANY($2))",
        &workers,
        actions.as_deref(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Lets what waits at a place wait at `place`, as the board's power is switched there now.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn move_waiting(tx: &mut Tx, instance: InstanceId, place: Option<&str>) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE action SET place = $2 WHERE instance_id = $1 AND status = 'WAITING' AND place IS NOT NULL",
        instance.0,
        place,
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

/// Lists what an instance has to do, in order.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_open(db: &mut PgConnection, instance: InstanceId) -> Result<Vec<OpenAction>, StoreError> {
    let rows = sqlx::query_as!(
        OpenAction,
        r#"SELECT a.action, a.status, a.cancelled, a.place, a.asked_at, a.began_at,
                  (SELECT count(DISTINCT b.instance_id) FROM action b
                    WHERE b.place = a.place AND b.action_id < a.action_id AND b.instance_id <> a.instance_id)
                  AS "ahead!"
             FROM action a WHERE a.instance_id = $1 ORDER BY a.visit, a.seq"#,
        instance.0,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

//! What is still to be done or being done in the world.
//!
//! ```text
//!            entering          begin               end
//!     (state) ──────▶ WAITING ─────────▶ RUNNING ──────────────▶ (history)
//!                       ▲                 │
//!                       └─────────────────┘ the worker died or stopped, or the action was suspended
//! ```
//!
//! These steps belong to decisions, and are written with them: see [`groups`](super::groups).
//!
//! Leaving a state deletes what waits and marks what runs as cancelled; a cancelled action holds what it claims until its
//! worker says that it has really stopped. What is left of an action with a *compensation* that was begun and did not end is
//! a *rescue*: the compensation is carried out, whatever becomes of the visit.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::claims::{Claim, ClaimColumns, Grant, GrantedUnits, claims_of};
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
    /// What it needs before it can begin, and holds while it runs.
    pub claims: Vec<Claim>,
    /// When its turn is, where that is not the time at which it is asked for.
    pub queue_at: Option<DateTime<Utc>>,
    /// What makes up for it where it was begun and is not seen to end.
    pub compensation: Option<ActionName>,
}

impl NewAction {
    /// The longest it may take, in milliseconds.
    pub(super) fn limit_ms(&self) -> Option<i64> {
        self.invoke.limit.map(|limit| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX))
    }
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
    /// What it needs to run.
    pub claims: Vec<Claim>,
    /// What it holds of that while it runs.
    pub granted: Vec<GrantedUnits>,
    /// What makes up for it where it was begun and is not seen to end.
    pub compensation: Option<ActionName>,
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

    /// Whether it claims the same resources as `other`, apart from those that states hold.
    #[must_use]
    fn claims_what(&self, other: &Self) -> bool {
        let own = |action: &Self| {
            let claims = action.claims.iter().filter(|claim| claim.hold.is_none());
            claims.map(|claim| claim.any_of.clone()).collect::<Vec<_>>()
        };
        own(self) == own(other)
    }

    /// Whether what `other` holds is all that it needs.
    #[must_use]
    pub fn is_covered_by(&self, other: &Self) -> bool {
        self.claims.iter().all(|claim| claim.hold.is_some() || other.units_for(claim).is_some())
    }

    /// What it holds for `claim`.
    #[must_use]
    pub fn units_for(&self, claim: &Claim) -> Option<&GrantedUnits> {
        let is_for =
            |units: &&GrantedUnits| claim.any_of.contains(&units.resource) && units.units >= claim.units;
        self.granted.iter().find(is_for)
    }
}

/// An action that trouble of our own stopped, to be handed back until that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The action.
    pub action: ActionId,
    /// What it is suspended by: actions with the same trouble wait for the same thing.
    pub trouble: String,
    /// Why, in words.
    pub reason: String,
    /// Whether its run counts among its attempts.
    pub is_counted: bool,
    /// Whether what is left to do is the compensation, whatever becomes of the visit.
    pub is_rescue: bool,
}

/// An action that may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startable {
    /// Its number.
    pub id: ActionId,
    /// Whose it is.
    pub instance: InstanceId,
    /// What it gets of what it claims.
    pub grant: Grant,
}

/// An action as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAction {
    /// Its number.
    pub id: ActionId,
    /// Which action.
    pub action: String,
    /// `WAITING` or `RUNNING`.
    pub status: String,
    /// Whether its visit has ended and it is being stopped.
    pub cancelled: bool,
    /// What it needs.
    pub claims: Vec<Claim>,
    /// What it holds of that.
    pub granted: Vec<GrantedUnits>,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
    /// When it began to run.
    pub began_at: Option<DateTime<Utc>>,
    /// Whether it only makes up for an action whose visit has ended.
    pub rescue: bool,
    /// Since when it is suspended.
    pub suspended_at: Option<DateTime<Utc>>,
    /// Why it is suspended; or, while it runs, why it does not do what people may expect of it.
    pub reason: Option<String>,
    /// How often it was begun without being seen to end.
    pub attempts: i32,
}

impl OpenAction {
    /// Whether it waits for resources.
    #[must_use]
    pub fn queues(&self) -> bool {
        self.began_at.is_none() && self.granted.is_empty() && !self.claims.is_empty()
    }

    /// The resources that it holds or waits for, in words; nothing where it needs none.
    #[must_use]
    pub fn resource(&self) -> Option<String> {
        let names: Vec<String> = if self.granted.is_empty() {
            self.claims.iter().map(|claim| claim.any_of.join(" or ")).collect()
        } else {
            self.granted.iter().map(|units| units.resource.clone()).collect()
        };
        (!names.is_empty()).then(|| names.join(" and "))
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
    let limits: Vec<Option<i64>> = actions.iter().map(NewAction::limit_ms).collect();
    let columns: Vec<ClaimColumns<'_>> = actions.iter().map(|new| ClaimColumns::of(&new.claims)).collect();
    let claims: Vec<Option<Json<&[Claim]>>> = columns.iter().map(|one| one.claims.map(Json)).collect();
    let queues: Vec<Option<&str>> = columns.iter().map(|one| one.queue).collect();
    let queue_at: Vec<Option<DateTime<Utc>>> = actions.iter().map(|new| new.queue_at).collect();
    let places: Vec<Option<&str>> = columns.iter().map(|one| one.place).collect();
    let compensations: Vec<Option<&str>> =
        actions.iter().map(|new| new.compensation.as_ref().map(ActionName::as_str)).collect();
    sqlx::query!(
        "INSERT INTO action (instance_id, visit, seq, action, settings, limit_ms, place, compensation, claims, queue,
                             queue_at, status, asked_at)
         SELECT $1, $2, new.seq, new.action, new.settings, new.limit_ms, new.place, new.compensation, new.claims,
                new.queue, new.queue_at, 'WAITING', $8
           FROM unnest($3::text[], $4::jsonb[], $5::bigint[], $6::text[], $7::text[], $9::jsonb[], $10::text[],
                       $11::timestamptz[])
                WITH ORDINALITY AS new (action, settings, limit_ms, place, compensation, claims, queue, queue_at, seq)
          ORDER BY new.seq",
        instance.0,
        visit.0,
        &names,
        &settings,
        &limits as _,
        &places as _,
        &compensations as _,
        now,
        &claims as _,
        &queues as _,
        &queue_at as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Says whether something is still to be made up for at an instance: by a rescue, or by an action with a compensation that was
/// begun and waits to go on.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn is_rescue_owed(tx: &mut Tx, instance: InstanceId) -> Result<bool, StoreError> {
    let is_owed = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM action
                           WHERE instance_id = $1 AND coalesce(queue, place) IS NOT NULL
                             AND (rescue OR status = 'WAITING' AND compensation IS NOT NULL AND attempts > 0)) AS "is_owed!""#,
        instance.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(is_owed)
}

/// Deletes all that an instance still has to do, and marks what runs as cancelled, because it goes.
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

/// How an action stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionStatus {
    /// It is still to be done.
    Waiting,
    /// It is being done.
    Running,
}

/// An action that there is a row for.
#[derive(Debug, Clone)]
pub struct LiveAction {
    /// What is to be done.
    pub action: RunningAction,
    /// Where it comes in its visit.
    pub seq: i32,
    /// How it stands.
    pub status: ActionStatus,
    /// Whether it waits for trouble to be over.
    pub is_suspended: bool,
    /// Whether its visit has ended.
    pub is_cancelled: bool,
    /// Who is doing it.
    pub worker: Option<WorkerId>,
    /// How often it was begun without being seen to end.
    pub attempts: u32,
}

impl LiveAction {
    /// Whether it has to be over before `other` may begin.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        // A rescue that cannot go on holds up nobody: the next action at its resource makes up for it as well.
        let is_held_up = self.action.is_rescue && self.status == ActionStatus::Waiting && self.is_suspended;
        !is_held_up && (self.action.visit, self.seq) < (other.action.visit, other.seq)
    }

    /// Whether it waits to make up for something where `ended` was at work since.
    #[must_use]
    pub fn is_superseded_by(&self, ended: &RunningAction) -> bool {
        self.action.is_rescue
            && self.status == ActionStatus::Waiting
            && self.action.id != ended.id
            && self.action.claims_what(ended)
    }

    /// Whether it waits for its turn in the same visit as `ended`.
    #[must_use]
    pub fn is_next_after(&self, ended: &RunningAction) -> bool {
        self.action.visit == ended.visit && self.status == ActionStatus::Waiting && !self.is_cancelled
    }
}

struct LiveRow {
    action_id: i64,
    instance_id: i64,
    visit: i64,
    seq: i32,
    action: String,
    settings: Json<Map<String, Value>>,
    limit_ms: Option<i64>,
    claims: Option<Json<Vec<Claim>>>,
    granted: Option<Json<Vec<GrantedUnits>>>,
    place: Option<String>,
    compensation: Option<String>,
    status: String,
    is_suspended: Option<bool>,
    cancelled: bool,
    rescue: bool,
    worker_id: Option<i64>,
    attempts: i32,
}

impl TryFrom<LiveRow> for LiveAction {
    type Error = StoreError;

    fn try_from(row: LiveRow) -> Result<Self, StoreError> {
        Ok(Self {
            action: RunningAction {
                id: ActionId(row.action_id),
                instance: InstanceId(row.instance_id),
                visit: Visit(row.visit),
                is_rescue: row.rescue,
                action: name(ActionName::new(&row.action))?,
                settings: row.settings.0,
                limit: row.limit_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
                claims: claims_of(row.claims.map(|claims| claims.0), row.place.as_deref()),
                granted: row.granted.map(|granted| granted.0).unwrap_or_default(),
                compensation: row.compensation.map(|action| name(ActionName::new(&action))).transpose()?,
            },
            seq: row.seq,
            status: match row.status.as_str() {
                "WAITING" => ActionStatus::Waiting,
                "RUNNING" => ActionStatus::Running,
                other => return Err(StoreError::unreadable(format!("an action with the status {other:?}"))),
            },
            is_suspended: row.is_suspended.unwrap_or(false),
            is_cancelled: row.cancelled,
            worker: row.worker_id.map(WorkerId),
            attempts: u32::try_from(row.attempts).unwrap_or_default(),
        })
    }
}

/// Lists what instances have to do.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_live(
    db: &mut PgConnection,
    instances: &[InstanceId],
) -> Result<Vec<LiveAction>, StoreError> {
    let ids: Vec<i64> = instances.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        LiveRow,
        r#"SELECT a.action_id, a.instance_id, a.visit, a.seq, a.action,
                  a.settings AS "settings: Json<Map<String, Value>>", a.limit_ms, a.place, a.compensation,
                  a.claims AS "claims: Json<Vec<Claim>>", a.granted AS "granted: Json<Vec<GrantedUnits>>", a.status,
                  a.trouble IS NOT NULL AS is_suspended, a.cancelled, a.rescue, a.worker_id, a.attempts
             FROM action a WHERE a.instance_id = ANY($1)"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(LiveAction::try_from).collect()
}

/// Deletes actions whose instance is gone.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn delete_orphans(db: &mut PgConnection, actions: &[ActionId]) -> Result<(), StoreError> {
    let ids: Vec<i64> = actions.iter().map(|action| action.0).collect();
    sqlx::query!(
        "DELETE FROM action a
          WHERE a.action_id = ANY($1)
            AND NOT EXISTS (SELECT FROM instance i WHERE i.instance_id = a.instance_id)",
        &ids,
    )
    .execute(db)
    .await?;
    Ok(())
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

/// Takes what `workers` were doing from them at `now`, or only `actions` of it: it waits to be started again, but for what was
/// cancelled, which goes.
///
/// What was cancelled and not seen to end may have left something undone, so its compensation is left of it.
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
    // Resources are locked before instances, everywhere. They need their time to settle after this as well.
    sqlx::query!(
        "UPDATE resource r SET released_at = $3, revision = r.revision + 1
           FROM (SELECT l.name FROM resource l
                  WHERE l.name IN (SELECT g.value ->> 'resource' FROM action, jsonb_array_elements(granted) g
                                    WHERE granted IS NOT NULL AND worker_id = ANY($1)
                                      AND ($2::bigint[] IS NULL OR action_id = ANY($2)))
                  ORDER BY l.name FOR UPDATE) locked
          WHERE r.name = locked.name",
        &workers,
        actions.as_deref(),
        now,
    )
    .execute(&mut **tx)
    .await?;
    // Whatever others have read of these instances is out of date then: they decide anew.
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
    super::instances::touch(tx, &instances).await?;
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

/// Lists what is said of those of `actions` that run: why they do not do what people may expect of them, if they do not.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_reasons(
    db: &mut PgConnection,
    actions: &[ActionId],
) -> Result<Vec<(ActionId, Option<String>)>, StoreError> {
    let ids: Vec<i64> = actions.iter().map(|action| action.0).collect();
    let rows = sqlx::query!(
        "SELECT action_id, reason FROM action WHERE action_id = ANY($1) AND status = 'RUNNING'",
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (ActionId(row.action_id), row.reason)).collect())
}

/// Says of running actions why they do not do what people may expect of them, or that they do.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn set_reasons(
    db: &mut PgConnection,
    reasons: &[(ActionId, Option<&str>)],
) -> Result<(), StoreError> {
    let (ids, texts): (Vec<i64>, Vec<Option<&str>>) =
        reasons.iter().map(|(action, reason)| (action.0, *reason)).unzip();
    sqlx::query!(
        "WITH told AS (
             SELECT a.action_id, n.reason
               FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::text[]) AS reason) n
               JOIN action a ON a.action_id = n.id
              WHERE a.status = 'RUNNING'
              ORDER BY a.action_id FOR UPDATE OF a
         )
         UPDATE action a SET reason = t.reason FROM told t WHERE a.action_id = t.action_id",
        &ids,
        &texts as _,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Begins an instance's `action` anew where it runs as the last of its visit, because what it was told has changed: what runs
/// is cancelled, and what waits is not suspended any more.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn renew(
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

/// Lets what waits for a resource claim `claims` instead, as that is what it needs now, beside what its state holds. What was
/// suspended there is not suspended any more: there it may be well.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn move_waiting(tx: &mut Tx, instance: InstanceId, claims: &[Claim]) -> Result<(), StoreError> {
    let ClaimColumns { claims, queue, place } = ClaimColumns::of(claims);
    sqlx::query!(
        "UPDATE action a
            SET claims = n.claims, queue = coalesce(n.claims -> 0 -> 'any_of' ->> 0, $3), place = $4, trouble = NULL
           FROM (SELECT b.action_id,
                        nullif(coalesce((SELECT jsonb_agg(c.value) FROM jsonb_array_elements(b.claims) c
                                          WHERE c.value ? 'hold'), '[]') || coalesce($2::jsonb, '[]'), '[]') AS claims
                   FROM action b WHERE b.instance_id = $1) n
          WHERE a.action_id = n.action_id AND a.status = 'WAITING' AND coalesce(a.queue, a.place) IS NOT NULL
            AND a.granted IS NULL",
        instance.0,
        claims.map(Json) as _,
        queue,
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
    let rows = sqlx::query!(
        r#"SELECT action_id, action, status, cancelled, rescue, claims AS "claims: Json<Vec<Claim>>",
                  granted AS "granted: Json<Vec<GrantedUnits>>", place, asked_at, began_at, suspended_at, reason, attempts
             FROM action WHERE instance_id = $1 ORDER BY visit, seq"#,
        instance.0,
    )
    .fetch_all(db)
    .await?;
    let actions = rows.into_iter().map(|row| OpenAction {
        id: ActionId(row.action_id),
        action: row.action,
        status: row.status,
        cancelled: row.cancelled,
        claims: claims_of(row.claims.map(|claims| claims.0), row.place.as_deref()),
        granted: row.granted.map(|granted| granted.0).unwrap_or_default(),
        asked_at: row.asked_at,
        began_at: row.began_at,
        rescue: row.rescue,
        suspended_at: row.suspended_at,
        reason: row.reason,
        attempts: row.attempts,
    });
    Ok(actions.collect())
}

/// Takes back what waiting actions were granted before `before` and nobody has started: whoever could has other
/// trouble. Says how many those were.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn revoke_grants(tx: &mut Tx, before: DateTime<Utc>) -> Result<usize, StoreError> {
    let instances = sqlx::query_scalar!(
        "SELECT instance_id FROM instance
          WHERE instance_id IN (SELECT instance_id FROM action
                                 WHERE granted IS NOT NULL AND status = 'WAITING' AND granted_at < $1)
          ORDER BY instance_id FOR UPDATE",
        before,
    )
    .fetch_all(&mut **tx)
    .await?;
    if instances.is_empty() {
        return Ok(0);
    }
    // Whoever is about to start one of them has read it before.
    let ids: Vec<InstanceId> = instances.iter().copied().map(InstanceId).collect();
    super::instances::touch(tx, &ids).await?;
    sqlx::query!(
        "UPDATE action SET granted = NULL, granted_at = NULL
          WHERE instance_id = ANY($1) AND granted IS NOT NULL AND status = 'WAITING' AND granted_at < $2",
        &instances,
        before,
    )
    .execute(&mut **tx)
    .await?;
    Ok(instances.len())
}

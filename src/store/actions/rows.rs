//! Changes of actions that are written outside of batches.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::super::claims::{Claim, ClaimColumns};
use super::super::instances::InstanceId;
use super::super::{StoreError, Tx};
use super::action::{ActionId, NewAction};
use crate::machine::{ActionName, Visit};

/// Inserts the actions of a visit, in their order.
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
    let claims: Vec<Option<Json<&[Claim]>>> = columns.iter().map(|column| column.claims.map(Json)).collect();
    let queues: Vec<Option<&str>> = columns.iter().map(|column| column.queue.as_deref()).collect();
    let queue_at: Vec<Option<DateTime<Utc>>> = actions.iter().map(|new| new.queue_at).collect();
    let places: Vec<Option<&str>> = columns.iter().map(|column| column.place).collect();
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

/// Whether a compensation is owed at an instance: one waits or runs, or an action that has one began and waits to go on.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn is_compensation_owed(tx: &mut Tx, instance: InstanceId) -> Result<bool, StoreError> {
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

/// Deletes the waiting actions of an instance that is being removed, and cancels its running ones.
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

/// Deletes those of `actions` whose instance was removed; their units cool from `now` on.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn delete_orphans(
    db: &mut PgConnection,
    actions: &[ActionId],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let ids: Vec<i64> = actions.iter().map(|action| action.0).collect();
    // Cooling twice, where the next statement fails, does no harm.
    sqlx::query!("SELECT cool_units($1, $2)", &ids, now).execute(&mut *db).await?;
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

/// Replaces the claims of the instance's actions that wait for resources by `claims`, except for claims of holds.
///
/// They are no longer suspended: the local fault concerned the earlier resource.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn replace_waiting_claims(
    tx: &mut Tx,
    instance: InstanceId,
    claims: &[Claim],
) -> Result<(), StoreError> {
    let ClaimColumns { claims, place, .. } = ClaimColumns::of(claims);
    sqlx::query!(
        "UPDATE action a
            SET claims = n.claims, place = $3, trouble = NULL,
                queue = coalesce(n.claims -> 0 ->> 'select', nullif(array_to_string(
                            ARRAY(SELECT jsonb_array_elements_text(n.claims -> 0 -> 'any_of')), ' or '), ''))
           FROM (SELECT b.action_id,
                        nullif(coalesce((SELECT jsonb_agg(c.value) FROM jsonb_array_elements(b.claims) c
                                          WHERE c.value ? 'hold'), '[]') || coalesce($2::jsonb, '[]'), '[]') AS claims
                   FROM action b WHERE b.instance_id = $1) n
          WHERE a.action_id = n.action_id AND a.status = 'WAITING' AND coalesce(a.queue, a.place) IS NOT NULL
            AND a.granted IS NULL",
        instance.0,
        claims.map(Json) as _,
        place,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Revokes grants of waiting actions that were made before `before`, and returns how many instances had one.
///
/// No process started these actions in time: the processes that could have started them may have local
/// faults.
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
    // Earlier decisions to start one of these actions are not applied then.
    let ids: Vec<InstanceId> = instances.iter().copied().map(InstanceId).collect();
    super::super::instances::touch(tx, &ids).await?;
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

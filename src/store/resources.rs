//! Resources for people: what there is, who holds it, who waits for it.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::actions::ActionId;
use super::claims::{Claim, GrantedUnits, claims_of, missing_claims};
use super::definitions::ActivationId;
use super::instances::{self, InstanceId};
use super::queue::{self, LimitOverrides, ResourceState};
use super::{StoreError, Tx};

/// An instance, as people know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRef {
    /// Its number.
    pub instance: InstanceId,
    /// The machine that it is an instance of.
    pub machine: String,
    /// Its name.
    pub name: String,
}

/// Who holds units of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceHolder {
    /// Of which resource.
    pub resource: String,
    /// The instance.
    pub owner: InstanceRef,
    /// For which action; nothing where its state holds them.
    pub action: Option<String>,
    /// How many units.
    pub units: u32,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// Who waits for resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceWaiter {
    /// The action's number.
    pub id: ActionId,
    /// The instance.
    pub owner: InstanceRef,
    /// The action.
    pub action: String,
    /// What it needs and does not have yet.
    pub claims: Vec<Claim>,
    /// Whether its instance holds something already.
    pub has_holds: bool,
    /// Since when it waits.
    pub since: DateTime<Utc>,
}

/// Lists the names of all resources of which anything was ever granted or set, or which somebody waits for.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_names(db: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    let names = sqlx::query_scalar!(
        r#"SELECT name AS "name!" FROM resource
           UNION
           SELECT n.value FROM action a, jsonb_array_elements(a.claims) c, jsonb_array_elements_text(c.value -> 'any_of') n
            WHERE a.status = 'WAITING' AND a.claims IS NOT NULL
            ORDER BY 1"#,
    );
    Ok(names.fetch_all(db).await?)
}

/// What states hold by the definitions in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinedHolds {
    /// Since when these are in force.
    pub activation: ActivationId,
    /// The machines that they are of.
    pub machines: Vec<String>,
    /// Machine, state, and the name of what is held in it.
    pub holds: Vec<(String, String, String)>,
}

/// Lists what these instances hold for as long as they are in certain states.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_holds(
    db: &mut PgConnection,
    instances: &[InstanceId],
) -> Result<Vec<(InstanceId, GrantedUnits)>, StoreError> {
    let ids: Vec<i64> = instances.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        "SELECT instance_id, name, resource, units FROM hold WHERE instance_id = ANY ($1)",
        &ids
    )
    .fetch_all(db)
    .await?;
    let hold = |row: (i64, String, String, i32)| {
        let units = u32::try_from(row.3).unwrap_or_default();
        (InstanceId(row.0), GrantedUnits { resource: row.2, units, hold: Some(row.1) })
    };
    Ok(rows.into_iter().map(|row| hold((row.instance_id, row.name, row.resource, row.units))).collect())
}

/// Takes from instances what they hold and their states do not: their machine has another definition by now than the one by
/// which they took it. Says how many that were.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn drop_stray_holds(
    tx: &mut Tx,
    by: &DefinedHolds,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let strays = list_stray_holds(tx, by).await?;
    if strays.is_empty() {
        return Ok(0);
    }
    let resources: Vec<String> = strays.iter().map(|stray| stray.resource.clone()).collect();
    // Resources are locked before instances, everywhere.
    sqlx::query!(
        "UPDATE resource r SET released_at = $2, revision = r.revision + 1
           FROM (SELECT name FROM resource WHERE name = ANY($1) ORDER BY name COLLATE \"C\" FOR UPDATE) locked
          WHERE r.name = locked.name",
        &resources,
        now,
    )
    .execute(&mut **tx)
    .await?;
    let ids: Vec<i64> = strays.iter().map(|stray| stray.instance).collect();
    let instances = sqlx::query_scalar!(
        "SELECT instance_id FROM instance WHERE instance_id = ANY($1) ORDER BY instance_id FOR UPDATE",
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    // Whoever has read of them what they hold decides anew.
    let instances: Vec<InstanceId> = instances.into_iter().map(InstanceId).collect();
    instances::touch(tx, &instances).await?;
    // They may have gone on until they were locked.
    let strays = list_stray_holds(tx, by).await?;
    let strays = strays.iter().filter(|stray| ids.contains(&stray.instance));
    let (ids, names): (Vec<i64>, Vec<String>) =
        strays.map(|stray| (stray.instance, stray.name.clone())).unzip();
    sqlx::query!(
        "DELETE FROM hold h USING unnest($1::bigint[], $2::text[]) AS s (id, name)
          WHERE h.instance_id = s.id AND h.name = s.name",
        &ids,
        &names,
    )
    .execute(&mut **tx)
    .await?;
    Ok(ids.len())
}

/// What an instance holds that its state does not.
struct StrayHold {
    instance: i64,
    name: String,
    resource: String,
}

async fn list_stray_holds(db: &mut PgConnection, by: &DefinedHolds) -> Result<Vec<StrayHold>, StoreError> {
    let DefinedHolds { activation: under, machines, holds: held } = by;
    let column =
        |which: fn(&(String, String, String)) -> &String| held.iter().map(which).cloned().collect::<Vec<_>>();
    let strays = sqlx::query_as!(
        StrayHold,
        "SELECT h.instance_id AS instance, h.name, h.resource
           FROM hold h JOIN instance i USING (instance_id)
          WHERE i.machine = ANY ($5) AND NOT EXISTS (SELECT FROM adoption WHERE adoption_id > $4)
            AND NOT EXISTS (SELECT FROM unnest($1::text[], $2::text[], $3::text[]) AS s (machine, state, name)
                             WHERE s.machine = i.machine AND s.state = i.state AND s.name = h.name)",
        &column(|one| &one.0),
        &column(|one| &one.1),
        &column(|one| &one.2),
        under.0,
        machines.as_slice(),
    );
    Ok(strays.fetch_all(db).await?)
}

/// Lists who holds units of `resources`, the first of them first.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_holders(
    db: &mut PgConnection,
    resources: &[String],
) -> Result<Vec<ResourceHolder>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT u.resource AS "resource!", u.instance_id AS "instance!", i.machine, i.name, u.action,
                  u.units AS "units!", u.granted_at AS "granted_at!"
             FROM (SELECT g.value ->> 'resource' AS resource, a.instance_id, a.action, (g.value ->> 'units')::int AS units,
                          coalesce(a.granted_at, a.began_at, a.asked_at) AS granted_at
                     FROM action a, jsonb_array_elements(a.granted) g WHERE a.granted IS NOT NULL
                   UNION ALL
                   SELECT a.place, a.instance_id, a.action, 1, a.began_at FROM action a
                    WHERE a.status = 'RUNNING' AND a.place IS NOT NULL AND a.granted IS NULL
                   UNION ALL
                   SELECT h.resource, h.instance_id, NULL, h.units, h.granted_at FROM hold h) u
             JOIN instance i USING (instance_id)
            WHERE u.resource = ANY ($1) ORDER BY u.granted_at, i.name"#,
        resources,
    )
    .fetch_all(db)
    .await?;
    let holders = rows.into_iter().map(|row| ResourceHolder {
        resource: row.resource,
        owner: InstanceRef { instance: InstanceId(row.instance), machine: row.machine, name: row.name },
        action: row.action,
        units: u32::try_from(row.units).unwrap_or_default(),
        since: row.granted_at,
    });
    Ok(holders.collect())
}

/// Lists at most `most` of those who wait for one of `resources`, in the order of their turns; an instance once.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_waiters(
    db: &mut PgConnection,
    resources: &[String],
    most: i64,
) -> Result<Vec<ResourceWaiter>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT w.action_id AS "action_id!", w.instance_id AS "instance!", i.machine, i.name, w.action AS "action!",
                  w.claims AS "claims?: Json<Vec<Claim>>", w.place AS "place?", w.rescue AS "rescue!", w.asked_at AS "asked_at!",
                  ARRAY(SELECT h.name FROM hold h WHERE h.instance_id = w.instance_id) AS "held!"
             FROM (SELECT DISTINCT ON (a.instance_id) a.*
                     FROM action a
                    WHERE a.status = 'WAITING' AND a.trouble IS NULL AND a.granted IS NULL
                      AND coalesce(a.queue, a.place) IS NOT NULL
                      AND (coalesce(a.queue, a.place) = ANY ($1) OR EXISTS (
                          SELECT FROM jsonb_array_elements(a.claims) c
                           WHERE c.value ? 'select' OR c.value -> 'any_of' ?| $1))
                      -- One whose instance holds units of it already goes on when it comes to its turn there.
                      AND NOT EXISTS (SELECT FROM action b WHERE b.instance_id = a.instance_id AND b.granted IS NOT NULL)
                    ORDER BY a.instance_id, a.visit, a.seq) w
             JOIN instance i USING (instance_id)
            ORDER BY coalesce(w.queue_at, w.asked_at), w.action_id LIMIT $2"#,
        resources,
        most,
    )
    .fetch_all(db)
    .await?;
    let waiters = rows.into_iter().map(|row| {
        let claims = claims_of(row.claims.map(|claims| claims.0), row.place.as_deref());
        let claims = missing_claims(claims, &row.held, row.rescue);
        let party = InstanceRef { instance: InstanceId(row.instance), machine: row.machine, name: row.name };
        let holds = !row.held.is_empty();
        ResourceWaiter {
            id: ActionId(row.action_id),
            owner: party,
            action: row.action,
            claims,
            has_holds: holds,
            since: row.asked_at,
        }
    });
    Ok(waiters.collect())
}

/// Says how a resource is, where anything was ever granted or set.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find(db: &mut PgConnection, name: &str) -> Result<Option<ResourceState>, StoreError> {
    Ok(queue::read_resources(db, &[name.to_owned()]).await?.pop())
}

/// Sets an operator's limits of a resource, in the place of those that were set before.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn override_limits(tx: &mut Tx, name: &str, limits: LimitOverrides) -> Result<(), StoreError> {
    let ms = |ms: Option<u64>| ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    sqlx::query!(
        "INSERT INTO resource AS r (name, set_capacity, set_gap_ms, set_settle_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE
            SET set_capacity = excluded.set_capacity, set_gap_ms = excluded.set_gap_ms,
                set_settle_ms = excluded.set_settle_ms, revision = r.revision + 1",
        name,
        limits.capacity.map(|units| i32::try_from(units).unwrap_or(i32::MAX)),
        ms(limits.gap_ms),
        ms(limits.settle_ms),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

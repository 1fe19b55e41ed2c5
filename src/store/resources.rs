//! Resources as operators see them: their state, holders and waiting actions.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::actions::ActionId;
use super::claims::{AddedLoad, Claim, GrantedUnits, claims_of, missing_claims};
use super::definitions::ActivationId;
use super::instances::{self, InstanceId};
use super::{StoreError, Tx};

/// An instance with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRef {
    /// Its ID.
    pub instance: InstanceId,
    /// The machine that it is an instance of.
    pub machine: String,
    /// Its name.
    pub name: String,
}

/// A holder of units of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceHolder {
    /// The resource.
    pub resource: String,
    /// The instance.
    pub owner: InstanceRef,
    /// The action that holds them; `None` if the state of the instance does.
    pub action: Option<String>,
    /// The number of units.
    pub units: u32,
    /// The load that came with them.
    pub load: Option<AddedLoad>,
    /// When they were granted.
    pub since: DateTime<Utc>,
}

/// An action that waits for resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceWaiter {
    /// Its ID.
    pub id: ActionId,
    /// Its instance.
    pub owner: InstanceRef,
    /// The kind of action.
    pub action: String,
    /// The claims that are not satisfied yet.
    pub claims: Vec<Claim>,
    /// Whether its instance has holds already.
    pub has_holds: bool,
    /// Whether it is the compensation of another action.
    pub is_compensation: bool,
    /// The resource whose incident suspended it.
    pub suspended_by: Option<String>,
    /// When it was invoked.
    pub since: DateTime<Utc>,
}

/// Forgets the limits that claimants declared of `names`: a claim without limits is not limited by them any more.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn forget_declared_limits(tx: &mut Tx, names: &[String]) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE resource SET capacity = NULL, gap_ms = 0, settle_ms = 0 WHERE name = ANY($1)",
        names
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Lists the names of all resources of which units were ever granted, limits were set, or an action waits for units.
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

/// The holds of states according to the active definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinedHolds {
    /// The last activation of these definitions.
    pub activation: ActivationId,
    /// The machines that they define.
    pub machines: Vec<String>,
    /// Machine, state, and the name of the hold.
    pub holds: Vec<(String, String, String)>,
}

/// Lists the holds of these instances.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_holds(
    db: &mut PgConnection,
    instances: &[InstanceId],
) -> Result<Vec<(InstanceId, GrantedUnits)>, StoreError> {
    let ids: Vec<i64> = instances.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        HoldRow,
        "SELECT instance_id, name, resource, units FROM hold WHERE instance_id = ANY ($1)",
        &ids
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (InstanceId(row.instance_id), GrantedUnits::from(row))).collect())
}

struct HoldRow {
    instance_id: i64,
    name: String,
    resource: String,
    units: i32,
}

impl From<HoldRow> for GrantedUnits {
    fn from(row: HoldRow) -> Self {
        let units = u32::try_from(row.units).unwrap_or_default();
        Self { resource: row.resource, units, hold: Some(row.name), load: None }
    }
}

/// Deletes holds that the states of their instances do not have according to `defined`, and returns how many.
///
/// They are left over from an earlier definition of the machine.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn drop_stray_holds(
    tx: &mut Tx,
    defined: &DefinedHolds,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let strays = list_stray_holds(tx, defined).await?;
    if strays.is_empty() {
        return Ok(0);
    }
    let resources: Vec<String> = strays.iter().map(|stray| stray.resource.clone()).collect();
    // Everywhere, resources are locked before instances.
    sqlx::query!(
        "UPDATE resource r SET released_at = $2
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
    // Decisions on holds that were read before are not applied.
    let instances: Vec<InstanceId> = instances.into_iter().map(InstanceId).collect();
    instances::touch(tx, &instances).await?;
    // The instances may have moved on before they were locked.
    let strays = list_stray_holds(tx, defined).await?;
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

/// A hold that the state of its instance does not have.
struct StrayHold {
    instance: i64,
    name: String,
    resource: String,
}

async fn list_stray_holds(
    db: &mut PgConnection,
    defined: &DefinedHolds,
) -> Result<Vec<StrayHold>, StoreError> {
    let DefinedHolds { activation, machines, holds } = defined;
    let column = |field: fn(&(String, String, String)) -> &String| {
        holds.iter().map(field).cloned().collect::<Vec<_>>()
    };
    let strays = sqlx::query_as!(
        StrayHold,
        "SELECT h.instance_id AS instance, h.name, h.resource
           FROM hold h JOIN instance i USING (instance_id)
          WHERE i.machine = ANY ($5) AND NOT EXISTS (SELECT FROM activation WHERE activation_id > $4)
            AND NOT EXISTS (SELECT FROM unnest($1::text[], $2::text[], $3::text[]) AS s (machine, state, name)
                             WHERE s.machine = i.machine AND s.state = i.state AND s.name = h.name)",
        &column(|(machine, ..)| machine),
        &column(|(_, state, _)| state),
        &column(|(.., name)| name),
        activation.0,
        machines.as_slice(),
    );
    Ok(strays.fetch_all(db).await?)
}

/// Lists the holders of units of `resources`, in the order of their grants.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_holders(
    db: &mut PgConnection,
    resources: &[String],
) -> Result<Vec<ResourceHolder>, StoreError> {
    let rows = sqlx::query_as!(
        HolderRow,
        r#"SELECT u.resource AS "resource!", u.instance_id AS "instance!", i.machine, i.name, u.action,
                  u.units AS "units!", u.load AS "load: Json<AddedLoad>", u.granted_at AS "granted_at!"
             FROM (SELECT g.value ->> 'resource' AS resource, a.instance_id, a.action, (g.value ->> 'units')::int AS units,
                          g.value -> 'load' AS load, coalesce(a.granted_at, a.began_at, a.asked_at) AS granted_at
                     FROM action a, jsonb_array_elements(a.granted) g WHERE a.granted IS NOT NULL
                   UNION ALL
                   SELECT a.place, a.instance_id, a.action, 1, NULL, a.began_at FROM action a
                    WHERE a.status = 'RUNNING' AND a.place IS NOT NULL AND a.granted IS NULL
                   UNION ALL
                   SELECT h.resource, h.instance_id, NULL, h.units, NULL, h.granted_at FROM hold h) u
             JOIN instance i USING (instance_id)
            WHERE u.resource = ANY ($1) ORDER BY u.granted_at, i.name"#,
        resources,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(ResourceHolder::from).collect())
}

struct HolderRow {
    resource: String,
    instance: i64,
    machine: String,
    name: String,
    action: Option<String>,
    units: i32,
    load: Option<Json<AddedLoad>>,
    granted_at: DateTime<Utc>,
}

impl From<HolderRow> for ResourceHolder {
    fn from(row: HolderRow) -> Self {
        Self {
            resource: row.resource,
            owner: InstanceRef { instance: InstanceId(row.instance), machine: row.machine, name: row.name },
            action: row.action,
            units: u32::try_from(row.units).unwrap_or_default(),
            load: row.load.map(|Json(load)| load),
            since: row.granted_at,
        }
    }
}

/// Lists at most `limit` actions that wait for one of `resources`, in the order of the queue; one for each instance. Those that
/// incidents suspended are among them, those that local faults suspended are not.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_waiters(
    db: &mut PgConnection,
    resources: &[String],
    limit: i64,
) -> Result<Vec<ResourceWaiter>, StoreError> {
    let rows = sqlx::query_as!(
        WaiterRow,
        r#"SELECT w.action_id AS "action_id!", w.instance_id AS "instance!", i.machine, i.name, w.action AS "action!",
                  w.claims AS "claims?: Json<Vec<Claim>>", w.place AS "place?", w.rescue AS "rescue!", w.asked_at AS "asked_at!",
                  substr(w.trouble, length('incident ') + 1) AS suspended_by,
                  ARRAY(SELECT h.name FROM hold h WHERE h.instance_id = w.instance_id) AS "held!"
             FROM (SELECT DISTINCT ON (a.instance_id) a.*
                     FROM action a
                    WHERE a.status = 'WAITING' AND (a.trouble IS NULL OR a.trouble LIKE 'incident %') AND a.granted IS NULL
                      AND coalesce(a.queue, a.place) IS NOT NULL
                      AND (coalesce(a.queue, a.place) = ANY ($1) OR EXISTS (
                          SELECT FROM jsonb_array_elements(a.claims) c
                           WHERE c.value ? 'select' OR c.value -> 'any_of' ?| $1))
                      -- An action of an instance that was granted units already does not wait in the queue.
                      AND (a.trouble IS NOT NULL
                           OR NOT EXISTS (SELECT FROM action b WHERE b.instance_id = a.instance_id AND b.granted IS NOT NULL))
                    ORDER BY a.instance_id, a.visit, a.seq) w
             JOIN instance i USING (instance_id)
            ORDER BY coalesce(w.queue_at, w.asked_at), w.action_id LIMIT $2"#,
        resources,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(ResourceWaiter::from).collect())
}

struct WaiterRow {
    action_id: i64,
    instance: i64,
    machine: String,
    name: String,
    action: String,
    claims: Option<Json<Vec<Claim>>>,
    place: Option<String>,
    rescue: bool,
    asked_at: DateTime<Utc>,
    suspended_by: Option<String>,
    held: Vec<String>,
}

impl From<WaiterRow> for ResourceWaiter {
    fn from(row: WaiterRow) -> Self {
        let claims = claims_of(row.claims.map(|Json(claims)| claims), row.place.as_deref());
        Self {
            id: ActionId(row.action_id),
            owner: InstanceRef { instance: InstanceId(row.instance), machine: row.machine, name: row.name },
            action: row.action,
            claims: missing_claims(claims, &row.held, row.rescue),
            has_holds: !row.held.is_empty(),
            is_compensation: row.rescue,
            suspended_by: row.suspended_by,
            since: row.asked_at,
        }
    }
}

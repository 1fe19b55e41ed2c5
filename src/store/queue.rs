//! Queues of waiting actions, and the state of resources: what the scheduler reads.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::StoreError;
use super::actions::{ActionId, StartableAction};
use super::claims::{Claim, Grant, GrantedUnits, ResourceLimits, claims_of, missing_claims};
use super::incidents::{CLOSED_STATE, INCIDENT_MACHINE, SILENT_STATE};
use super::instances::InstanceId;

/// An action that waits for resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Its ID.
    pub id: ActionId,
    /// Its instance.
    pub instance: InstanceId,
    /// The claims that are not satisfied yet.
    pub claims: Vec<Claim>,
    /// Whether its instance has holds already.
    pub has_holds: bool,
}

/// The state of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceState {
    /// Its name.
    pub name: String,
    /// Its revision; 0 if no units were ever granted.
    pub revision: i64,
    /// The limits that an operator set; the others are as the claimants declare them.
    pub overrides: LimitOverrides,
    /// The limits that the last claimant declared.
    pub declared: Option<ResourceLimits>,
    /// When units were last granted.
    pub granted_at: Option<DateTime<Utc>>,
    /// When units were last released.
    pub released_at: Option<DateTime<Utc>>,
    /// The number of units in use.
    pub in_use: u32,
}

/// Limits that an operator set instead of those that claimants declare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitOverrides {
    /// The number of units.
    pub capacity: Option<u32>,
    /// The time between two grants, in milliseconds.
    pub gap_ms: Option<u64>,
    /// The time between a release and the next grant, in milliseconds.
    pub settle_ms: Option<u64>,
}

impl LimitOverrides {
    pub(super) fn of(capacity: Option<i32>, gap_ms: Option<i64>, settle_ms: Option<i64>) -> Self {
        let ms = |span: Option<i64>| span.and_then(|ms| u64::try_from(ms).ok());
        Self {
            capacity: capacity.and_then(|units| u32::try_from(units).ok()),
            gap_ms: ms(gap_ms),
            settle_ms: ms(settle_ms),
        }
    }

    /// Returns the limits that apply if the claimants declare `declared`.
    #[must_use]
    pub fn apply_to(&self, declared: ResourceLimits) -> ResourceLimits {
        ResourceLimits {
            capacity: self.capacity.or(declared.capacity),
            gap_ms: self.gap_ms.unwrap_or(declared.gap_ms),
            settle_ms: self.settle_ms.unwrap_or(declared.settle_ms),
        }
    }
}

/// Lists at most `limit` actions that may be started: they have no claims, or have been granted what they claim.
///
/// They are the first of their visit, with nothing of their instance before them but a suspended compensation; the oldest
/// come first. Actions suspended by one of `troubles`, the local faults of the caller, or by an open
/// [incident](super::incidents) are left out.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_startable(
    db: &mut PgConnection,
    limit: i64,
    troubles: &[String],
) -> Result<Vec<StartableAction>, StoreError> {
    let rows = sqlx::query_as!(
        StartableRow,
        r#"SELECT a.action_id, a.instance_id, a.granted AS "granted: Json<Vec<GrantedUnits>>"
             FROM action a
            WHERE a.status = 'WAITING' AND (a.trouble IS NULL OR a.trouble <> ALL($2))
              AND (coalesce(a.queue, a.place) IS NULL OR a.granted IS NOT NULL)
              AND (a.trouble IS NULL OR a.trouble NOT LIKE 'incident %' OR NOT EXISTS (
                      SELECT FROM instance i
                       WHERE i.machine = $3 AND i.state <> $4 AND a.trouble = 'incident ' || (i.data ->> 'resource')))
              AND NOT EXISTS (SELECT FROM action b
                               WHERE b.instance_id = a.instance_id AND (b.visit, b.seq) < (a.visit, a.seq)
                                 AND NOT (b.rescue AND b.status = 'WAITING' AND b.trouble IS NOT NULL))
            ORDER BY a.action_id LIMIT $1"#,
        limit,
        troubles,
        INCIDENT_MACHINE,
        CLOSED_STATE,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(StartableAction::from).collect())
}

struct StartableRow {
    action_id: i64,
    instance_id: i64,
    granted: Option<Json<Vec<GrantedUnits>>>,
}

impl From<StartableRow> for StartableAction {
    fn from(row: StartableRow) -> Self {
        let StartableRow { action_id, instance_id, granted } = row;
        let units = granted.map(|Json(units)| units).unwrap_or_default();
        let grant = Grant { units, based_on: Vec::new() };
        Self { id: ActionId(action_id), instance: InstanceId(instance_id), grant }
    }
}

/// Lists at most `limit` actions that wait for resources, in the order of their queues; only for `resources` if given.
///
/// At most as many actions are read from each queue as units of its resource are free, and in addition all
/// actions whose instances have holds. Actions that need a resource with an open [incident](super::incidents) are left out.
/// The other conditions are those of [`list_startable`].
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_claimants(
    db: &mut PgConnection,
    limit: i64,
    troubles: &[String],
    resources: Option<&[String]>,
) -> Result<Vec<Claimant>, StoreError> {
    let rows = sqlx::query_as!(
        ClaimantRow,
        r#"WITH incident AS MATERIALIZED (
               SELECT i.instance_id, i.data ->> 'resource' AS resource
                 FROM instance i WHERE i.machine = $5 AND i.state NOT IN ($6, $7))
           SELECT w.action_id AS "action_id!", w.instance_id AS "instance_id!",
                  w.claims AS "claims?: Json<Vec<Claim>>", w.place AS "place?", w.rescue AS "rescue!",
                  ARRAY(SELECT h.name FROM hold h WHERE h.instance_id = w.instance_id) AS "held!"
             FROM (SELECT a.*, coalesce(a.queue_at, a.asked_at) AS queued_at, f.first, l.queue_name,
                          row_number() OVER (PARTITION BY l.queue_name
                                                 ORDER BY coalesce(a.queue_at, a.asked_at), a.action_id) AS nth
                     FROM action a,
                          -- The first claim that is not satisfied. Holds of the instance satisfy claims; a compensation needs no
                          -- holds.
                          LATERAL (SELECT CASE WHEN a.claims IS NULL
                                               THEN jsonb_build_object('any_of', jsonb_build_array(a.place),
                                                                       'limits', jsonb_build_object('capacity', 1))
                                               WHEN NOT a.rescue
                                                    AND NOT EXISTS (SELECT FROM hold h WHERE h.instance_id = a.instance_id)
                                               THEN a.claims -> 0
                                               ELSE (SELECT c.value
                                                       FROM jsonb_array_elements(a.claims) WITH ORDINALITY c (value, nth)
                                                      WHERE NOT (a.rescue AND c.value ? 'hold') AND NOT EXISTS (
                                                                SELECT FROM hold h
                                                                 WHERE h.instance_id = a.instance_id
                                                                   AND h.name = c.value ->> 'hold')
                                                      ORDER BY c.nth LIMIT 1) END AS first) f,
                          LATERAL (SELECT coalesce(f.first ->> 'select', array_to_string(
                                              ARRAY(SELECT jsonb_array_elements_text(f.first -> 'any_of')), ' or ')) AS queue_name) l
                    WHERE a.status = 'WAITING' AND (a.trouble IS NULL OR a.trouble <> ALL($2))
                      AND coalesce(a.queue, a.place) IS NOT NULL AND a.granted IS NULL
                      AND ($3::text[] IS NULL OR coalesce(a.queue, a.place) = ANY ($3) OR EXISTS (
                              SELECT FROM jsonb_array_elements(a.claims) c
                               WHERE c.value ? 'select' OR c.value -> 'any_of' ?| $3))
                      AND NOT EXISTS (SELECT FROM action b
                                       WHERE b.instance_id = a.instance_id AND (b.visit, b.seq) < (a.visit, a.seq)
                                         AND NOT (b.rescue AND b.status = 'WAITING' AND b.trouble IS NOT NULL))
                      -- Where there is an incident, only its own probe starts, and what compensates.
                      AND (a.rescue OR NOT EXISTS (
                              SELECT FROM incident o
                               WHERE o.instance_id <> a.instance_id
                                 AND (a.claims IS NULL AND a.place = o.resource
                                      OR EXISTS (SELECT FROM jsonb_array_elements(a.claims) c
                                                  WHERE c.value -> 'any_of' = jsonb_build_array(o.resource)))))) w
             LEFT JOIN resource r ON r.name = w.queue_name
             LEFT JOIN resource_use() u ON u.name = w.queue_name,
                  -- The number of free units. NULL, which limits nothing, if the resource is unlimited, one of several, or
                  -- about to be released.
                  LATERAL (SELECT CASE WHEN $3 IS NULL AND jsonb_array_length(w.first -> 'any_of') = 1
                                       THEN coalesce(r.set_capacity,
                                                     CASE WHEN w.first -> 'limits' <> '{}'
                                                          THEN (w.first -> 'limits' ->> 'capacity')::int
                                                          ELSE r.capacity END) - coalesce(u.units, 0) END AS left) c
            -- Actions before one whose instance has holds may wait for it.
            WHERE w.nth <= least(c.left, $4) OR EXISTS (SELECT FROM hold h WHERE h.instance_id = w.instance_id)
            ORDER BY w.queued_at, w.action_id LIMIT $1"#,
        limit,
        troubles,
        resources,
        MAX_CLAIMANTS_PER_QUEUE,
        INCIDENT_MACHINE,
        CLOSED_STATE,
        SILENT_STATE,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Claimant::from).collect())
}

struct ClaimantRow {
    action_id: i64,
    instance_id: i64,
    claims: Option<Json<Vec<Claim>>>,
    place: Option<String>,
    rescue: bool,
    held: Vec<String>,
}

impl From<ClaimantRow> for Claimant {
    fn from(row: ClaimantRow) -> Self {
        let ClaimantRow { action_id, instance_id, claims, place, rescue, held } = row;
        let claims = claims_of(claims.map(|Json(claims)| claims), place.as_deref());
        Self {
            id: ActionId(action_id),
            instance: InstanceId(instance_id),
            claims: missing_claims(claims, &held, rescue),
            has_holds: !held.is_empty(),
        }
    }
}

/// The maximum number of actions that are read from one queue: the first ones, however long the queue is.
pub const MAX_CLAIMANTS_PER_QUEUE: i64 = 64;

/// Reads the state of resources at one moment, including those of which no units were ever granted.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read_resources(
    db: &mut PgConnection,
    names: &[String],
) -> Result<Vec<ResourceState>, StoreError> {
    let rows = sqlx::query_as!(
        ResourceRow,
        r#"SELECT n.name AS "name!", coalesce(r.revision, 0) AS "revision!", r.name IS NOT NULL AS "exists!",
                  r.capacity AS "capacity?", r.gap_ms AS "gap_ms?", r.settle_ms AS "settle_ms?",
                  r.set_capacity, r.set_gap_ms, r.set_settle_ms, r.granted_at, r.released_at,
                  coalesce(u.units, 0) AS "in_use!"
             FROM unnest($1::text[]) n (name)
             LEFT JOIN resource r USING (name)
             LEFT JOIN resource_use() u USING (name)"#,
        names,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(ResourceState::from).collect())
}

struct ResourceRow {
    name: String,
    revision: i64,
    exists: bool,
    capacity: Option<i32>,
    gap_ms: Option<i64>,
    settle_ms: Option<i64>,
    set_capacity: Option<i32>,
    set_gap_ms: Option<i64>,
    set_settle_ms: Option<i64>,
    granted_at: Option<DateTime<Utc>>,
    released_at: Option<DateTime<Utc>>,
    in_use: i64,
}

impl From<ResourceRow> for ResourceState {
    fn from(row: ResourceRow) -> Self {
        let declared =
            LimitOverrides::of(row.capacity, row.gap_ms, row.settle_ms).apply_to(ResourceLimits::default());
        Self {
            name: row.name,
            revision: row.revision,
            overrides: LimitOverrides::of(row.set_capacity, row.set_gap_ms, row.set_settle_ms),
            declared: row.exists.then_some(declared),
            granted_at: row.granted_at,
            released_at: row.released_at,
            in_use: u32::try_from(row.in_use).unwrap_or(u32::MAX),
        }
    }
}

//! Queues of waiting actions, and the state of resources: what the scheduler reads.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::StoreError;
use super::actions::{ActionId, StartableAction};
use super::claims::{Claim, Grant, GrantedUnits, ResourceLimits, claims_of, missing_claims};
use super::incidents::SILENT_STATE;
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
    /// The number of actions, with this one, that wait for resources within the same one.
    pub waiting_beside: i64,
}

/// The state of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceState {
    /// Its name.
    pub name: String,
    /// Its revision; 0 if no units were ever granted.
    pub revision: i64,
    /// What an operator set; limits that are not set are as the claimants declare them.
    pub settings: ResourceSettings,
    /// The limits that the last claimant declared.
    pub declared: Option<ResourceLimits>,
    /// When units were last granted.
    pub granted_at: Option<DateTime<Utc>>,
    /// When units were last released.
    pub released_at: Option<DateTime<Utc>>,
    /// The number of units in use.
    pub in_use: u32,
    /// The load in use, in milliampere.
    pub load_ma: u32,
    /// The released units that may still count as in use.
    pub cooling: Vec<ReleasedUnits>,
}

/// How far a time of another server may lie ahead of that of a reader: the reader's time is from before the reading, and clocks
/// differ a little. What lies further ahead was recorded before the clocks were set back.
const MAX_CLOCK_LEAD: TimeDelta = TimeDelta::minutes(1);

impl ResourceState {
    /// Takes times that lie a little ahead of `now` for `now`: these grants and releases happened, so they count.
    pub fn move_leading_times_to(&mut self, now: DateTime<Utc>) {
        let times = self.granted_at.iter_mut().chain(&mut self.released_at);
        for at in times.chain(self.cooling.iter_mut().map(|released| &mut released.released_at)) {
            if *at > now && *at - now <= MAX_CLOCK_LEAD {
                *at = now;
            }
        }
    }
}

/// Units that were released, with the load that came with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleasedUnits {
    /// The number of units.
    pub units: u32,
    /// The load, in milliampere.
    pub load_ma: u32,
    /// When they were released.
    pub released_at: DateTime<Utc>,
}

/// What an operator set for a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceSettings {
    /// The limits instead of those that claimants declare.
    pub overrides: LimitOverrides,
    /// The resource that contains it.
    pub within: Option<String>,
    /// How long released units with load count as in use, in milliseconds.
    pub window_ms: u64,
    /// The load that may be in use, in milliampere; `None`: unlimited.
    pub budget_ma: Option<u32>,
    /// The least time for which a cycle keeps off what it switches, in milliseconds.
    pub min_off_ms: u64,
    /// What it is, for people.
    pub about: Option<String>,
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
                      SELECT FROM incident_cover() c WHERE a.trouble = 'incident ' || c.resource))
              AND NOT EXISTS (SELECT FROM action b
                               WHERE b.instance_id = a.instance_id AND (b.visit, b.seq) < (a.visit, a.seq)
                                 AND NOT (b.rescue AND b.status = 'WAITING' AND b.trouble IS NOT NULL))
            ORDER BY a.action_id LIMIT $1"#,
        limit,
        troubles,
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

/// Whether any action waits for resources: a far cheaper question than which may start.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn has_claimants(db: &mut PgConnection) -> Result<bool, StoreError> {
    // The condition of the index `action_queued`.
    let has_some = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM action
                           WHERE status = 'WAITING' AND granted IS NULL AND coalesce(queue, place) IS NOT NULL) AS "has_some!""#,
    )
    .fetch_one(db)
    .await?;
    Ok(has_some)
}

/// Lists at most `limit` actions that wait for resources, in the order of their queues. Of more, the first ones of each queue are
/// listed. If `resources` are given, only what waits for one of them is listed; those within another resource, or with others
/// within them, are left out, because who is next there depends on other queues too.
///
/// At most as many actions are read from each queue as units of its resource are free, and at most
/// [`MAX_CLAIMANTS_PER_QUEUE`] for all resources within one; in addition all actions whose instances have holds. A queue is that
/// of the last claim. Actions that need a resource with an open [incident](super::incidents) are left out. The other conditions
/// are those of [`list_startable`].
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
               SELECT DISTINCT c.resource FROM incident_cover() c WHERE c.state <> $5),
           wanted AS MATERIALIZED (
               SELECT array_agg(n.name) AS names FROM unnest($3::text[]) n (name)
                WHERE NOT EXISTS (SELECT FROM resource r WHERE r.name = n.name AND r.within IS NOT NULL)
                  AND NOT EXISTS (SELECT FROM resource part WHERE part.within = n.name))
           SELECT v.action_id AS "action_id!", v.instance_id AS "instance_id!",
                  v.claims AS "claims?: Json<Vec<Claim>>", v.place AS "place?", v.rescue AS "rescue!", v.held AS "held!",
                  v.waiting_beside AS "waiting_beside!"
             FROM (SELECT v.*
             FROM (SELECT w.*, ARRAY(SELECT h.name FROM hold h WHERE h.instance_id = w.instance_id) AS held, r.within,
                          row_number() OVER (PARTITION BY r.within, w.hold, w.adds_load ORDER BY w.queued_at, w.action_id) AS nth_within
                     FROM (SELECT a.*, coalesce(a.queue_at, a.asked_at) AS queued_at, l.last, l.hold, l.adds_load, q.queue_name,
                                  row_number() OVER (PARTITION BY q.queue_name, l.hold, l.adds_load
                                                         ORDER BY coalesce(a.queue_at, a.asked_at), a.action_id) AS nth,
                                  count(*) OVER (PARTITION BY part.within) AS waiting_beside
                             FROM action a,
                                  -- The claims that are not satisfied. Holds of the instance satisfy claims; a compensation needs
                                  -- no holds. OFFSET 0: computed once a row, and not again wherever it is used.
                                  LATERAL (SELECT CASE WHEN a.claims IS NULL
                                                       THEN ARRAY[jsonb_build_object('any_of', jsonb_build_array(a.place),
                                                                                     'limits', jsonb_build_object('capacity', 1))]
                                                       ELSE ARRAY(SELECT c.value
                                                                    FROM jsonb_array_elements(a.claims) WITH ORDINALITY c (value, nth)
                                                                   WHERE NOT (c.value ? 'hold' AND (a.rescue OR EXISTS (
                                                                             SELECT FROM hold h
                                                                              WHERE h.instance_id = a.instance_id
                                                                                AND h.name = c.value ->> 'hold')))
                                                                   ORDER BY c.nth) END AS claims OFFSET 0) m,
                                  -- The queue is that of the last claim: what the action itself claims comes after what its state
                                  -- holds. Who waits for what a state holds keeps nothing of the last claim from others, and who adds load
                                  -- does not where a container is out of use: they are queues of their own here.
                                  LATERAL (SELECT m.claims[cardinality(m.claims)] AS last, m.claims[1] ->> 'hold' AS hold,
                                                  m.claims[cardinality(m.claims)] ? 'adds_load' AS adds_load OFFSET 0) l,
                                  LATERAL (SELECT coalesce(l.last ->> 'select', array_to_string(
                                              ARRAY(SELECT jsonb_array_elements_text(l.last -> 'any_of')), ' or ')) AS queue_name OFFSET 0) q
                             LEFT JOIN resource part ON part.name = q.queue_name
                            WHERE a.status = 'WAITING' AND (a.trouble IS NULL OR a.trouble <> ALL($2))
                              AND coalesce(a.queue, a.place) IS NOT NULL AND a.granted IS NULL
                              -- Decided before any action is read.
                              AND ($3::text[] IS NULL OR (SELECT names FROM wanted) IS NOT NULL)
                              AND ($3 IS NULL OR coalesce(a.queue, a.place) = ANY ((SELECT names FROM wanted)::text[])
                                   OR EXISTS (
                                      SELECT FROM jsonb_array_elements(a.claims) c
                                       WHERE c.value ? 'select' OR c.value -> 'any_of' ?| (SELECT names FROM wanted)))
                              AND NOT EXISTS (SELECT FROM action b
                                               WHERE b.instance_id = a.instance_id AND (b.visit, b.seq) < (a.visit, a.seq)
                                                 AND NOT (b.rescue AND b.status = 'WAITING' AND b.trouble IS NOT NULL))
                              -- Where there is an incident, only what asks whether the resource answers starts, and what compensates.
                              AND (a.rescue OR NOT EXISTS (
                                      SELECT FROM incident o
                                       WHERE a.claims IS NULL AND a.place = o.resource
                                          OR EXISTS (SELECT FROM jsonb_array_elements(a.claims) c
                                                      WHERE c.value -> 'any_of' = jsonb_build_array(o.resource)
                                                        AND NOT c.value ? 'probes')))) w
                     LEFT JOIN resource r ON r.name = w.queue_name
                     LEFT JOIN resource_use() u ON u.name = w.queue_name,
                          -- The number of free units. NULL, which limits nothing, if the resource is unlimited, one of several,
                          -- or about to be released.
                          LATERAL (SELECT CASE WHEN $3 IS NULL AND jsonb_array_length(w.last -> 'any_of') = 1
                                               THEN coalesce(r.set_capacity,
                                                             CASE WHEN w.last -> 'limits' <> '{}'
                                                                  THEN (w.last -> 'limits' ->> 'capacity')::int
                                                                  ELSE r.capacity END) - coalesce(u.units, 0) END AS left) c
                    -- Actions before one whose instance has holds may wait for it.
                    WHERE w.nth <= least(c.left, $4) OR EXISTS (SELECT FROM hold h WHERE h.instance_id = w.instance_id)) v
            WHERE v.within IS NULL OR v.nth_within <= $4 OR cardinality(v.held) > 0
            -- The first ones of every queue, however long one of them is.
            ORDER BY CASE WHEN cardinality(v.held) > 0 THEN 0 WHEN v.within IS NULL THEN v.nth ELSE v.nth_within END,
                     v.queued_at, v.action_id LIMIT $1) v
            ORDER BY v.queued_at, v.action_id"#,
        limit,
        troubles,
        resources,
        MAX_CLAIMANTS_PER_QUEUE,
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
    waiting_beside: i64,
}

impl From<ClaimantRow> for Claimant {
    fn from(row: ClaimantRow) -> Self {
        let ClaimantRow { action_id, instance_id, claims, place, rescue, held, waiting_beside } = row;
        let claims = claims_of(claims.map(|Json(claims)| claims), place.as_deref());
        Self {
            id: ActionId(action_id),
            instance: InstanceId(instance_id),
            claims: missing_claims(claims, &held, rescue),
            has_holds: !held.is_empty(),
            waiting_beside,
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
                  r.within, r.window_ms AS "window_ms?", r.budget_ma, r.min_off_ms AS "min_off_ms?", r.about,
                  coalesce(u.units, 0) AS "in_use!", coalesce(u.load_ma, 0) AS "load_ma!",
                  ARRAY(SELECT c.units FROM cooling c WHERE c.resource = n.name ORDER BY c.released_at, c.cooling_id) AS "cooling_units!",
                  ARRAY(SELECT c.load_ma FROM cooling c WHERE c.resource = n.name ORDER BY c.released_at, c.cooling_id) AS "cooling_loads!",
                  ARRAY(SELECT c.released_at FROM cooling c WHERE c.resource = n.name
                         ORDER BY c.released_at, c.cooling_id) AS "cooling_since!"
             FROM unnest($1::text[]) n (name)
             LEFT JOIN resource r USING (name)
             LEFT JOIN resource_usage() u USING (name)"#,
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
    within: Option<String>,
    window_ms: Option<i64>,
    budget_ma: Option<i32>,
    min_off_ms: Option<i64>,
    about: Option<String>,
    in_use: i64,
    load_ma: i64,
    cooling_units: Vec<i32>,
    cooling_loads: Vec<i64>,
    cooling_since: Vec<DateTime<Utc>>,
}

impl From<ResourceRow> for ResourceState {
    fn from(row: ResourceRow) -> Self {
        let ms = |span: Option<i64>| span.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default();
        let loads = row.cooling_loads.into_iter().zip(row.cooling_since);
        let cooling = row.cooling_units.into_iter().zip(loads);
        let cooling = cooling.map(|(units, (load_ma, released_at))| ReleasedUnits {
            units: u32::try_from(units).unwrap_or_default(),
            load_ma: u32::try_from(load_ma).unwrap_or(u32::MAX),
            released_at,
        });
        let cooling = cooling.collect();
        let declared =
            LimitOverrides::of(row.capacity, row.gap_ms, row.settle_ms).apply_to(ResourceLimits::default());
        Self {
            name: row.name,
            revision: row.revision,
            settings: ResourceSettings {
                overrides: LimitOverrides::of(row.set_capacity, row.set_gap_ms, row.set_settle_ms),
                within: row.within,
                window_ms: ms(row.window_ms),
                budget_ma: row.budget_ma.and_then(|ma| u32::try_from(ma).ok()),
                min_off_ms: ms(row.min_off_ms),
                about: row.about,
            },
            declared: row.exists.then_some(declared),
            granted_at: row.granted_at,
            released_at: row.released_at,
            in_use: u32::try_from(row.in_use).unwrap_or(u32::MAX),
            load_ma: u32::try_from(row.load_ma).unwrap_or(u32::MAX),
            cooling,
        }
    }
}

//! Who waits for what is limited, and what of it is in use: what is scheduled by.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::StoreError;
use super::actions::{ActionId, StartableAction};
use super::claims::{Claim, Grant, GrantedUnits, ResourceLimits, claims_of, missing_claims};
use super::instances::InstanceId;

/// An action that waits for what it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Its number.
    pub id: ActionId,
    /// Whose it is.
    pub instance: InstanceId,
    /// What it needs and does not have yet.
    pub claims: Vec<Claim>,
    /// Whether its instance holds something already.
    pub has_holds: bool,
}

/// A resource, and how much of it is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceState {
    /// Its name.
    pub name: String,
    /// Its revision; 0 where nothing of it was ever granted.
    pub revision: i64,
    /// The limits that an operator set; of the others what whoever claims it says counts.
    pub overrides: LimitOverrides,
    /// The limits that whoever claimed it last said.
    pub declared: Option<ResourceLimits>,
    /// When units of it were last granted.
    pub granted_at: Option<DateTime<Utc>>,
    /// When units of it were last given back.
    pub released_at: Option<DateTime<Utc>>,
    /// How many units are in use.
    pub in_use: u32,
}

/// Limits as an operator wants them instead of those that whoever claims a resource says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitOverrides {
    /// How many units there are.
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

    /// What holds where whoever claims the resource says `declared`.
    #[must_use]
    pub fn apply_to(&self, declared: ResourceLimits) -> ResourceLimits {
        ResourceLimits {
            capacity: self.capacity.or(declared.capacity),
            gap_ms: self.gap_ms.unwrap_or(declared.gap_ms),
            settle_ms: self.settle_ms.unwrap_or(declared.settle_ms),
        }
    }
}

/// Lists at most `most` actions that may be started as they are: they claim nothing, or have been granted what they claim.
/// They are the first of their visit, with nothing of their instance before them but a rescue that is suspended; the oldest
/// come first. Those that are suspended by one of `troubles`, which the caller has itself, are left out.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_startable(
    db: &mut PgConnection,
    most: i64,
    troubles: &[String],
) -> Result<Vec<StartableAction>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT a.action_id, a.instance_id, a.granted AS "granted: Json<Vec<GrantedUnits>>"
             FROM action a
            WHERE a.status = 'WAITING' AND (a.trouble IS NULL OR a.trouble <> ALL($2))
              AND (coalesce(a.queue, a.place) IS NULL OR a.granted IS NOT NULL)
              AND NOT EXISTS (SELECT FROM action b
                               WHERE b.instance_id = a.instance_id AND (b.visit, b.seq) < (a.visit, a.seq)
                                 AND NOT (b.rescue AND b.status = 'WAITING' AND b.trouble IS NOT NULL))
            ORDER BY a.action_id LIMIT $1"#,
        most,
        troubles,
    )
    .fetch_all(db)
    .await?;
    let startable = |id, instance, granted: Option<Json<Vec<GrantedUnits>>>| {
        let units = granted.map(|units| units.0).unwrap_or_default();
        StartableAction { id, instance, grant: Grant { units, based_on: Vec::new() } }
    };
    Ok(rows
        .into_iter()
        .map(|row| startable(ActionId(row.action_id), InstanceId(row.instance_id), row.granted))
        .collect())
}

/// Lists at most `most` actions that wait for what they claim, in the order of their turns: of each queue as many as there
/// is left for of its resource, and all whose instances hold something; only of `resources` where that is said. Which of them may be started at all is told as by
/// [`list_startable`].
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_claimants(
    db: &mut PgConnection,
    most: i64,
    troubles: &[String],
    resources: Option<&[String]>,
) -> Result<Vec<Claimant>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT w.action_id AS "action_id!", w.instance_id AS "instance_id!",
                  w.claims AS "claims?: Json<Vec<Claim>>", w.place AS "place?", w.rescue AS "rescue!",
                  ARRAY(SELECT h.name FROM hold h WHERE h.instance_id = w.instance_id) AS "held!"
             FROM (SELECT a.*, coalesce(a.queue_at, a.asked_at) AS turn_at, f.first, l.line,
                          row_number() OVER (PARTITION BY l.line
                                                 ORDER BY coalesce(a.queue_at, a.asked_at), a.action_id) AS nth
                     FROM action a,
                          -- The first of what it lacks. What its instance holds already is not waited for; what is left of an
                          -- action needs nothing that states hold.
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
                                              ARRAY(SELECT jsonb_array_elements_text(f.first -> 'any_of')), ' or ')) AS line) l
                    WHERE a.status = 'WAITING' AND (a.trouble IS NULL OR a.trouble <> ALL($2))
                      AND coalesce(a.queue, a.place) IS NOT NULL AND a.granted IS NULL
                      AND ($3::text[] IS NULL OR coalesce(a.queue, a.place) = ANY ($3) OR EXISTS (
                              SELECT FROM jsonb_array_elements(a.claims) c
                               WHERE c.value ? 'select' OR c.value -> 'any_of' ?| $3))
                      AND NOT EXISTS (SELECT FROM action b
                                       WHERE b.instance_id = a.instance_id AND (b.visit, b.seq) < (a.visit, a.seq)
                                         AND NOT (b.rescue AND b.status = 'WAITING' AND b.trouble IS NOT NULL))) w
             LEFT JOIN resource r ON r.name = w.line
             LEFT JOIN resource_use() u ON u.name = w.line,
                  -- How many there is left for. Of what has no limit, or is one of several, or is about to be given back,
                  -- more than enough.
                  LATERAL (SELECT CASE WHEN $3 IS NULL AND jsonb_array_length(w.first -> 'any_of') = 1
                                       THEN coalesce(r.set_capacity,
                                                     CASE WHEN w.first -> 'limits' <> '{}'
                                                          THEN (w.first -> 'limits' ->> 'capacity')::int
                                                          ELSE r.capacity END) - coalesce(u.units, 0) END AS left) c
            -- Whoever holds something may be waited for by those before it.
            WHERE w.nth <= least(c.left, $4) OR EXISTS (SELECT FROM hold h WHERE h.instance_id = w.instance_id)
            ORDER BY w.turn_at, w.action_id LIMIT $1"#,
        most,
        troubles,
        resources,
        MAX_CLAIMANTS_PER_QUEUE,
    )
    .fetch_all(db)
    .await?;
    let claimants = rows.into_iter().map(|row| {
        let claims = claims_of(row.claims.map(|claims| claims.0), row.place.as_deref());
        let claims = missing_claims(claims, &row.held, row.rescue);
        let holds = !row.held.is_empty();
        Claimant {
            id: ActionId(row.action_id),
            instance: InstanceId(row.instance_id),
            claims,
            has_holds: holds,
        }
    });
    Ok(claimants.collect())
}

/// How many of one queue are looked at, at most: its order is kept, however long it is.
pub const MAX_CLAIMANTS_PER_QUEUE: i64 = 64;

/// Reads how resources are, all of one moment; those of which nothing was ever granted as well.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read_resources(
    db: &mut PgConnection,
    names: &[String],
) -> Result<Vec<ResourceState>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT n.name AS "name!", coalesce(r.revision, 0) AS "revision!", r.name IS NOT NULL AS "is_there!",
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
    let states = rows.into_iter().map(|row| {
        let declared =
            LimitOverrides::of(row.capacity, row.gap_ms, row.settle_ms).apply_to(ResourceLimits::default());
        ResourceState {
            name: row.name,
            revision: row.revision,
            overrides: LimitOverrides::of(row.set_capacity, row.set_gap_ms, row.set_settle_ms),
            declared: row.is_there.then_some(declared),
            granted_at: row.granted_at,
            released_at: row.released_at,
            in_use: u32::try_from(row.in_use).unwrap_or(u32::MAX),
        }
    });
    Ok(states.collect())
}

//! What operators set for resources: limits, and what contains them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::queue::{LimitOverrides, ResourceSettings};
use super::{StoreError, Tx};

/// Lists all that contains one of `names`, in any order.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_containers(db: &mut PgConnection, names: &[String]) -> Result<Vec<String>, StoreError> {
    let containers = sqlx::query_scalar!(
        r#"WITH RECURSIVE container AS (
               SELECT within AS name FROM resource WHERE name = ANY ($1) AND within IS NOT NULL
                UNION
               SELECT r.within FROM container c JOIN resource r ON r.name = c.name WHERE r.within IS NOT NULL
           )
           SELECT name AS "name!" FROM container"#,
        names,
    );
    Ok(containers.fetch_all(db).await?)
}

/// Lists all resources that share a container with one of `names`, with the containers: who waits for one of them may have to
/// wait for others.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_connected(db: &mut PgConnection, names: &[String]) -> Result<Vec<String>, StoreError> {
    let connected = sqlx::query_scalar!(
        r#"WITH RECURSIVE container AS (
               SELECT n.name FROM unnest($1::text[]) n (name)
                UNION
               SELECT r.within FROM container c JOIN resource r ON r.name = c.name WHERE r.within IS NOT NULL
           ), connected AS (
               SELECT name FROM container
                UNION
               SELECT r.name FROM connected c JOIN resource r ON r.within = c.name
           )
           SELECT name AS "name!" FROM connected"#,
        names,
    );
    Ok(connected.fetch_all(db).await?)
}

/// Lists the resources `NAME@CONTAINER` of those of `names` that states hold.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_refined(db: &mut PgConnection, names: &[String]) -> Result<Vec<String>, StoreError> {
    let refined = sqlx::query_scalar!(
        "SELECT name FROM resource WHERE strpos(name, '@') > 0 AND split_part(name, '@', 1) = ANY ($1)",
        names,
    );
    Ok(refined.fetch_all(db).await?)
}

/// Locks all resources, in the order of their names: settings are changed by one transaction at a time.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn lock_all(tx: &mut Tx) -> Result<(), StoreError> {
    sqlx::query!("SELECT name FROM resource ORDER BY name COLLATE \"C\" FOR NO KEY UPDATE")
        .fetch_all(&mut **tx)
        .await?;
    Ok(())
}

/// Reads what is set for each resource that was ever used, or that something is set for.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_settings(db: &mut PgConnection) -> Result<BTreeMap<String, ResourceSettings>, StoreError> {
    let rows = sqlx::query_as!(
        SettingsRow,
        "SELECT name, set_capacity, set_gap_ms, set_settle_ms, within, window_ms, budget_ma, min_off_ms, about
           FROM resource",
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.name.clone(), ResourceSettings::from(row))).collect())
}

struct SettingsRow {
    name: String,
    set_capacity: Option<i32>,
    set_gap_ms: Option<i64>,
    set_settle_ms: Option<i64>,
    within: Option<String>,
    window_ms: i64,
    budget_ma: Option<i32>,
    min_off_ms: i64,
    about: Option<String>,
}

impl From<SettingsRow> for ResourceSettings {
    fn from(row: SettingsRow) -> Self {
        Self {
            overrides: LimitOverrides::of(row.set_capacity, row.set_gap_ms, row.set_settle_ms),
            within: row.within,
            window_ms: u64::try_from(row.window_ms).unwrap_or_default(),
            budget_ma: row.budget_ma.and_then(|ma| u32::try_from(ma).ok()),
            min_off_ms: u64::try_from(row.min_off_ms).unwrap_or_default(),
            about: row.about,
        }
    }
}

/// Sets an operator's settings of resources, in place of those set before. What contains them exists, or is among them.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn save_settings(
    tx: &mut Tx,
    settings: &BTreeMap<String, ResourceSettings>,
) -> Result<(), StoreError> {
    let names: Vec<String> = settings.keys().cloned().collect();
    // Not 0, the revision of a resource that does not exist: grants that were decided then are decided again.
    sqlx::query!(
        "INSERT INTO resource (name, revision) SELECT n.name, 1 FROM unnest($1::text[]) n (name)
         ON CONFLICT (name) DO NOTHING",
        &names,
    )
    .execute(&mut **tx)
    .await?;
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let int = |units: u32| i32::try_from(units).unwrap_or(i32::MAX);
    let column = |of: fn(&ResourceSettings) -> Option<u64>| {
        settings.values().map(|settings| of(settings).map(ms)).collect::<Vec<_>>()
    };
    let units = |of: fn(&ResourceSettings) -> Option<u32>| {
        settings.values().map(|settings| of(settings).map(int)).collect::<Vec<_>>()
    };
    let text = |of: fn(&ResourceSettings) -> Option<&String>| {
        settings.values().map(|settings| of(settings).cloned()).collect::<Vec<_>>()
    };
    sqlx::query!(
        "UPDATE resource r
            SET set_capacity = n.capacity, set_gap_ms = n.gap_ms, set_settle_ms = n.settle_ms, within = n.within,
                window_ms = n.window_ms, budget_ma = n.budget_ma, min_off_ms = n.min_off_ms, about = n.about,
                revision = r.revision + 1
           FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::int[], $8::bigint[],
                       $9::text[])
                AS n (name, capacity, gap_ms, settle_ms, within, window_ms, budget_ma, min_off_ms, about)
          WHERE r.name = n.name",
        &names,
        &units(|settings| settings.overrides.capacity) as _,
        &column(|settings| settings.overrides.gap_ms) as _,
        &column(|settings| settings.overrides.settle_ms) as _,
        &text(|settings| settings.within.as_ref()) as _,
        &column(|settings| Some(settings.window_ms)) as _,
        &units(|settings| settings.budget_ma) as _,
        &column(|settings| Some(settings.min_off_ms)) as _,
        &text(|settings| settings.about.as_ref()) as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes those of `names` of which nothing is in use, was granted since `since`, or cools, and that contain nothing.
///
/// A grant that was decided before is not applied then. It is decided and written within a shorter time than is since
/// `since`, so that the resource cannot come back with an earlier revision meanwhile.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn delete_unused(tx: &mut Tx, names: &[String], since: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM resource r
          WHERE r.name = ANY ($1) AND greatest(r.granted_at, r.released_at, '-infinity') < $2
            AND NOT EXISTS (SELECT FROM resource c WHERE c.within = r.name)
            AND NOT EXISTS (SELECT FROM resource_usage() u WHERE u.name = r.name)",
        names,
        since,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "DELETE FROM cooling c
          WHERE c.resource = ANY ($1) AND NOT EXISTS (SELECT FROM resource r WHERE r.name = c.resource)",
        names,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

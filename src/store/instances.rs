//! Instances of machines.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

pub use super::instance_ids::{InstanceId, InstanceKey};
use super::links::{LinkedIds, StoredLinks};
use super::{StoreError, Tx};
use crate::machine::{Instance, Links, MachineName, StateName, Visit};

/// An instance whose row is locked until the transaction ends.
#[derive(Debug)]
pub struct LockedInstance {
    /// Its ID.
    pub id: InstanceId,
    /// The instance.
    pub instance: Instance,
}

/// An instance's row, whether this program can read all of it or not.
#[derive(Debug)]
pub struct StoredInstance {
    /// Its ID.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// The instance, or why it cannot be read.
    pub instance: Result<Instance, String>,
}

struct InstanceRow {
    instance_id: i64,
    machine: String,
    name: String,
    state: String,
    visit: i64,
    since: DateTime<Utc>,
    deadline_at: Option<DateTime<Utc>>,
    remaining_us: Option<i64>,
    remaining_visit: Option<i64>,
    counters: Json<Box<RawValue>>,
    data: Json<Box<RawValue>>,
    links: Option<Json<Box<RawValue>>>,
}

impl From<InstanceRow> for StoredInstance {
    fn from(row: InstanceRow) -> Self {
        let name = row.name.clone();
        Self { id: InstanceId(row.instance_id), name, instance: row.read() }
    }
}

impl InstanceRow {
    fn read(self) -> Result<Instance, String> {
        let links = match &self.links {
            Some(links) => parse::<StoredLinks>("links", links)?.split().0,
            None => Links::new(),
        };
        Ok(Instance {
            machine: MachineName::new(&self.machine).map_err(|error| error.to_string())?,
            name: self.name,
            state: StateName::new(&self.state).map_err(|error| error.to_string())?,
            visit: Visit(self.visit),
            since: self.since,
            deadline_at: self.deadline_at,
            remaining: remaining_time(self.visit, self.remaining_us, self.remaining_visit),
            counters: parse("counters", &self.counters)?,
            data: parse("data", &self.data)?,
            links,
        })
    }
}

/// Reads a column that holds JSON.
fn parse<T: DeserializeOwned>(column: &str, Json(json): &Json<Box<RawValue>>) -> Result<T, String> {
    serde_json::from_str(json.get()).map_err(|error| format!("column `{column}` cannot be read: {error}"))
}

impl TryFrom<StoredInstance> for LockedInstance {
    type Error = StoreError;

    fn try_from(stored: StoredInstance) -> Result<Self, StoreError> {
        Ok(Self { id: stored.id, instance: stored.instance.map_err(StoreError::unreadable)? })
    }
}

/// Returns the remaining time of a suspended deadline, if the row's columns belong to visit `visit`.
pub(crate) fn remaining_time(
    visit: i64,
    remaining_us: Option<i64>,
    remaining_visit: Option<i64>,
) -> Option<Duration> {
    let remaining_us = remaining_us.filter(|_| remaining_visit == Some(visit))?;
    Some(Duration::from_micros(u64::try_from(remaining_us).unwrap_or_default()))
}

/// Accepts a name that a row holds, or fails as for an unreadable row.
pub(crate) fn checked_name_of_row<N>(name: Result<N, crate::machine::BadName>) -> Result<N, StoreError> {
    name.map_err(StoreError::unreadable)
}

/// Reads an instance and locks its row until `tx` ends.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
#[tracing::instrument(name = "store.instance.lock", level = "debug", skip_all)]
pub async fn lock(tx: &mut Tx, target: &InstanceKey) -> Result<Option<LockedInstance>, StoreError> {
    let (id, machine, name) = match target {
        InstanceKey::Id(id) => (Some(id.0), None, None),
        InstanceKey::Name(machine, name) => (None, Some(machine.as_str()), Some(name.as_str())),
    };
    let row = sqlx::query_as!(
        InstanceRow,
        r#"SELECT i.instance_id, i.machine, i.name, i.state, i.visit, i.entered_at AS since, i.deadline_at,
                  i.remaining_us, i.remaining_visit,
                  i.counters AS "counters: Json<Box<RawValue>>", i.data AS "data: Json<Box<RawValue>>",
                  i.links AS "links: Json<Box<RawValue>>"
             FROM instance i
            WHERE i.instance_id = $1 OR (i.machine = $2 AND i.name = $3)
              FOR UPDATE OF i"#,
        id,
        machine,
        name,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(StoredInstance::from).map(LockedInstance::try_from).transpose()
}

/// Lists the instances of `machine`, or only the one called `name`.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list(
    db: &mut PgConnection,
    machine: &MachineName,
    name: Option<&str>,
) -> Result<Vec<StoredInstance>, StoreError> {
    let rows = sqlx::query_as!(
        InstanceRow,
        r#"SELECT instance_id, machine, name, state, visit, entered_at AS since, deadline_at,
                  remaining_us, remaining_visit, counters AS "counters: Json<Box<RawValue>>", data AS "data: Json<Box<RawValue>>",
                  links AS "links: Json<Box<RawValue>>"
             FROM instance WHERE machine = $1 AND name = coalesce($2, name) ORDER BY instance_id"#,
        machine.as_str(),
        name,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(StoredInstance::from).collect())
}

/// An instance in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSummary {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: String,
    /// Its visit.
    pub visit: i64,
    /// When it entered its state from another one.
    pub since: DateTime<Utc>,
    /// Its deadline.
    pub deadline_at: Option<DateTime<Utc>>,
}

/// Lists at most `limit` instances of `machine` whose names follow `after`, by name.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_page(
    db: &mut PgConnection,
    machine: &MachineName,
    after: &str,
    limit: i64,
) -> Result<Vec<InstanceSummary>, StoreError> {
    let listed = sqlx::query_as!(
        InstanceSummary,
        r#"SELECT name, state, visit, entered_at AS since, deadline_at
             FROM instance WHERE machine = $1 AND name > $2 ORDER BY name LIMIT $3"#,
        machine.as_str(),
        after,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(listed)
}

/// Inserts an instance with the IDs of the instances that it is linked to; `None` if the name exists.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn insert(
    tx: &mut Tx,
    instance: &Instance,
    linked: &LinkedIds,
) -> Result<Option<InstanceId>, StoreError> {
    let links = (!instance.links.is_empty()).then(|| Json(StoredLinks::new(&instance.links, linked)));
    let id = sqlx::query_scalar!(
        "INSERT INTO instance (machine, name, state, visit, entered_at, deadline_at, counters, data, links)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (machine, name) DO NOTHING
         RETURNING instance_id",
        instance.machine.as_str(),
        instance.name,
        instance.state.as_str(),
        instance.visit.0,
        instance.since,
        instance.deadline_at,
        Json(&instance.counters) as _,
        Json(&instance.data) as _,
        links as _,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(InstanceId))
}

/// Rewrites the rows of locked instances unchanged, so that decisions on earlier readings of them are not
/// applied.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn touch(tx: &mut Tx, ids: &[InstanceId]) -> Result<(), StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    sqlx::query!("UPDATE instance SET visit = visit WHERE instance_id = ANY($1)", &ids)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Deletes an instance and the rows that depend on it; its history stays.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn delete(tx: &mut Tx, id: InstanceId) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM instance WHERE instance_id = $1", id.0).execute(&mut **tx).await?;
    Ok(())
}

/// An armed deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArmedDeadline {
    /// The instance.
    pub id: InstanceId,
    /// The visit that armed it.
    pub visit: Visit,
    /// When it is due.
    pub at: DateTime<Utc>,
}

/// Streams all armed deadlines.
///
/// # Errors
///
/// The stream ends with [`StoreError`] when the statement fails.
pub fn stream_deadlines(db: &mut PgConnection) -> impl Stream<Item = Result<ArmedDeadline, StoreError>> {
    let rows = sqlx::query!(
        r#"SELECT instance_id, visit, deadline_at AS "deadline_at!" FROM instance
            WHERE deadline_at IS NOT NULL"#,
    )
    .fetch(db);
    rows.map(|row| {
        let row = row?;
        Ok(ArmedDeadline { id: InstanceId(row.instance_id), visit: Visit(row.visit), at: row.deadline_at })
    })
}

/// An instance in a state that a definition does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrandedInstance {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: String,
}

/// Lists the instances of `machine` whose state is not among `states`, by name.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_stranded(
    db: &mut PgConnection,
    machine: &MachineName,
    states: &[String],
) -> Result<Vec<StrandedInstance>, StoreError> {
    let rows = sqlx::query_as!(
        StrandedInstance,
        "SELECT name, state FROM instance WHERE machine = $1 AND state <> ALL($2) ORDER BY name",
        machine.as_str(),
        states,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Counts the instances of `machine` by state.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn count_by_state(
    db: &mut PgConnection,
    machine: &MachineName,
) -> Result<BTreeMap<String, i64>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT state, count(*) AS "count!" FROM instance WHERE machine = $1 GROUP BY state"#,
        machine.as_str(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.state, row.count)).collect())
}

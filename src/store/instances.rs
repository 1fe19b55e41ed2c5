//! Instances of machines.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::{StoreError, Tx};
use crate::machine::{CounterName, Instance, MachineName, StateName, Visit};

/// An instance's number in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub i64);

/// Which instance is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// The one with this number.
    Id(InstanceId),
    /// The machine's instance of this name.
    Name(MachineName, String),
}

/// An instance that is kept from other writers until the transaction ends.
#[derive(Debug)]
pub struct Locked {
    /// Its number.
    pub id: InstanceId,
    /// The instance.
    pub instance: Instance,
    /// What guards may know of its device; empty where it has none.
    pub device: Map<String, Value>,
}

struct InstanceRow {
    instance_id: i64,
    machine: String,
    name: String,
    state: String,
    visit: i64,
    entered_at: DateTime<Utc>,
    deadline_at: Option<DateTime<Utc>>,
    counters: Json<BTreeMap<CounterName, i64>>,
    data: Json<Map<String, Value>>,
    device: Option<Json<Map<String, Value>>>,
}

impl TryFrom<InstanceRow> for Locked {
    type Error = StoreError;

    fn try_from(row: InstanceRow) -> Result<Self, StoreError> {
        let instance = Instance {
            machine: name(MachineName::new(&row.machine))?,
            name: row.name,
            state: name(StateName::new(&row.state))?,
            visit: Visit(row.visit),
            entered_at: row.entered_at,
            deadline_at: row.deadline_at,
            counters: row.counters.0,
            data: row.data.0,
        };
        Ok(Self {
            id: InstanceId(row.instance_id),
            instance,
            device: row.device.map(|device| device.0).unwrap_or_default(),
        })
    }
}

/// Takes a name that a row holds.
pub(crate) fn name<N>(name: Result<N, crate::machine::BadName>) -> Result<N, StoreError> {
    name.map_err(|bad| StoreError::Statement(sqlx::Error::Decode(Box::new(bad))))
}

/// Reads an instance and keeps other writers away from it until `tx` ends.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
#[tracing::instrument(name = "store.instance.lock", level = "debug", skip_all)]
pub async fn lock(tx: &mut Tx, target: &Target) -> Result<Option<Locked>, StoreError> {
    let (id, machine, name) = match target {
        Target::Id(id) => (Some(id.0), None, None),
        Target::Name(machine, name) => (None, Some(machine.as_str()), Some(name.as_str())),
    };
    // The guards' view of the device: the names are the ones that definitions may use.
    let row = sqlx::query_as!(
        InstanceRow,
        r#"SELECT i.instance_id, i.machine, i.name, i.state, i.visit, i.entered_at, i.deadline_at,
                  i.counters AS "counters: Json<BTreeMap<CounterName, i64>>",
                  i.data AS "data: Json<Map<String, Value>>",
                  (SELECT jsonb_build_object(
                              'name', i.name, 'fqdn', d.fqdn, 'mac', d.mac, 'hardware', d.hardware,
                              'environment', d.environment, 'power', d.power_url IS NOT NULL,
                              'images', (SELECT coalesce(jsonb_agg(b.image ORDER BY b.image), '[]')
                                           FROM boot_config b WHERE b.hardware = d.hardware))
                     FROM device d WHERE d.instance_id = i.instance_id)
                  AS "device: Json<Map<String, Value>>"
             FROM instance i
            WHERE i.instance_id = $1 OR (i.machine = $2 AND i.name = $3)
              FOR UPDATE OF i"#,
        id,
        machine,
        name,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Locked::try_from).transpose()
}

/// Writes a new instance.
///
/// # Errors
///
/// [`StoreError::Constraint`] `instance_machine_name_key` when the machine has one of this name already.
pub async fn insert(tx: &mut Tx, instance: &Instance) -> Result<InstanceId, StoreError> {
    let id = sqlx::query_scalar!(
        "INSERT INTO instance (machine, name, state, visit, entered_at, deadline_at, counters, data)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         RETURNING instance_id",
        instance.machine.as_str(),
        instance.name,
        instance.state.as_str(),
        instance.visit.0,
        instance.entered_at,
        instance.deadline_at,
        Json(&instance.counters) as _,
        Json(&instance.data) as _,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(InstanceId(id))
}

/// Writes what a decision made of a locked instance.
///
/// # Errors
///
/// [`StoreError::Conflict`] when the row is not at the visit `from`: somebody wrote without the lock.
#[tracing::instrument(name = "store.instance.save", level = "debug", skip_all)]
pub async fn save(tx: &mut Tx, id: InstanceId, from: Visit, instance: &Instance) -> Result<(), StoreError> {
    let done = sqlx::query!(
        "UPDATE instance
            SET state = $3, visit = $4, entered_at = $5, deadline_at = $6, counters = $7, data = $8
          WHERE instance_id = $1 AND visit = $2",
        id.0,
        from.0,
        instance.state.as_str(),
        instance.visit.0,
        instance.entered_at,
        instance.deadline_at,
        Json(&instance.counters) as _,
        Json(&instance.data) as _,
    )
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Conflict(sqlx::Error::RowNotFound)) }
}

/// Removes an instance and what hangs on it; its history stays.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn delete(tx: &mut Tx, id: InstanceId) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM instance WHERE instance_id = $1", id.0).execute(&mut **tx).await?;
    Ok(())
}

/// A deadline that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueDeadline {
    /// Whose it is.
    pub id: InstanceId,
    /// The visit that armed it.
    pub visit: Visit,
}

/// Lists at most `most` deadlines of `machines` that are due at `now`, the earliest first.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_due(
    db: &mut PgConnection,
    machines: &[String],
    now: DateTime<Utc>,
    most: i64,
) -> Result<Vec<DueDeadline>, StoreError> {
    let rows = sqlx::query!(
        "SELECT instance_id, visit FROM instance
          WHERE deadline_at <= $1 AND machine = ANY($2)
          ORDER BY deadline_at LIMIT $3",
        now,
        machines,
        most,
    )
    .fetch_all(db)
    .await?;
    let due = |id, visit| DueDeadline { id: InstanceId(id), visit: Visit(visit) };
    Ok(rows.into_iter().map(|row| due(row.instance_id, row.visit)).collect())
}

/// Finds the earliest deadline of `machines` that is armed.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_next_deadline(
    db: &mut PgConnection,
    machines: &[String],
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let next = sqlx::query_scalar!(
        "SELECT min(deadline_at) FROM instance WHERE deadline_at IS NOT NULL AND machine = ANY($1)",
        machines,
    )
    .fetch_one(db)
    .await?;
    Ok(next)
}

/// An instance whose state is not among those that a definition has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranded {
    /// The instance's name.
    pub name: String,
    /// Its state.
    pub state: String,
}

/// Lists instances of `machine` whose state is none of `states`, by name.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_stranded(
    db: &mut PgConnection,
    machine: &MachineName,
    states: &[String],
) -> Result<Vec<Stranded>, StoreError> {
    let rows = sqlx::query_as!(
        Stranded,
        "SELECT name, state FROM instance WHERE machine = $1 AND state <> ALL($2) ORDER BY name",
        machine.as_str(),
        states,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

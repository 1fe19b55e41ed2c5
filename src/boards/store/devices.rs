//! Inventory data of boards, alone and with their lifecycles.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::super::device::{Board, Device};
use super::super::facts::BoardFacts;
use crate::machine::{CounterName, Instance, MachineName, StateName, Visit};
use crate::store::instances::{InstanceId, checked_name_of_row, remaining_time};
use crate::store::links::StoredLinks;
use crate::store::{StoreError, Tx};

/// Inserts the inventory data of a new board, whose power is switched at `outlet`; false if another board has its MAC
/// address or outlet.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn insert(
    tx: &mut Tx,
    id: InstanceId,
    device: &Device,
    outlet: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "INSERT INTO device
         SELECT (jsonb_populate_record(NULL::device, $2 || jsonb_build_object(
                     'instance_id', $1::bigint, 'registered_at', $3::timestamptz, 'power_outlet', $4::text))).*
         ON CONFLICT DO NOTHING",
        id.0,
        Json(device) as _,
        now,
        outlet,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Replaces the inventory data of a board, except its outlet ([`save_outlets`]).
///
/// The caller has checked for conflicts ([`find_conflict`]).
///
/// # Errors
///
/// [`StoreError::Constraint`] `device_mac_key` when another board got the MAC address at the same moment.
pub async fn save(tx: &mut Tx, id: InstanceId, device: &Device) -> Result<(), StoreError> {
    // Deleted and inserted in one statement: columns that are not fields keep their values.
    sqlx::query!(
        "WITH before AS (DELETE FROM device d WHERE instance_id = $1 RETURNING to_jsonb(d) AS known)
         INSERT INTO device SELECT (jsonb_populate_record(NULL::device, before.known || $2)).* FROM before",
        id.0,
        Json(device) as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A board that has the MAC address or the outlet of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConflict {
    /// Its name.
    pub name: String,
    /// Whether it has the MAC address; otherwise it has the outlet.
    pub has_mac: bool,
}

/// Finds a board other than `id` that has this MAC address or outlet.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_conflict(
    db: &mut PgConnection,
    id: Option<InstanceId>,
    mac: &str,
    outlet: Option<&str>,
) -> Result<Option<DeviceConflict>, StoreError> {
    let conflict = sqlx::query_as!(
        DeviceConflict,
        r#"SELECT i.name, d.mac = $2 AS "has_mac!" FROM device d JOIN instance i USING (instance_id)
            WHERE (d.mac = $2 OR d.power_outlet = $3) AND d.instance_id IS DISTINCT FROM $1
            ORDER BY d.mac = $2 DESC LIMIT 1"#,
        id.map(|id| id.0),
        mac,
        outlet,
    )
    .fetch_optional(db)
    .await?;
    Ok(conflict)
}

/// A board's power URL and the outlet stored for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutletAssignment {
    /// The board.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// Its power URL.
    pub power_url: Option<String>,
    /// The stored outlet.
    pub outlet: Option<String>,
}

/// Lists the boards with a power URL or an outlet, in the order of their registration.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_outlet_assignments(db: &mut PgConnection) -> Result<Vec<OutletAssignment>, StoreError> {
    let rows = sqlx::query_as!(
        OutletRow,
        "SELECT instance_id, i.name, power_url, power_outlet FROM device JOIN instance i USING (instance_id)
          WHERE power_url IS NOT NULL OR power_outlet IS NOT NULL ORDER BY instance_id",
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(OutletAssignment::from).collect())
}

struct OutletRow {
    instance_id: i64,
    name: String,
    power_url: Option<String>,
    power_outlet: Option<String>,
}

impl From<OutletRow> for OutletAssignment {
    fn from(row: OutletRow) -> Self {
        let OutletRow { instance_id, name, power_url, power_outlet } = row;
        Self { id: InstanceId(instance_id), name, power_url, outlet: power_outlet }
    }
}

/// Stores the outlets of boards whose power URLs have not changed since they were read.
///
/// # Errors
///
/// [`StoreError::Constraint`] when another board got one of the outlets meanwhile.
pub async fn save_outlets(tx: &mut Tx, assignments: &[OutletAssignment]) -> Result<(), StoreError> {
    let ids: Vec<i64> = assignments.iter().map(|assignment| assignment.id.0).collect();
    let urls: Vec<Option<String>> =
        assignments.iter().map(|assignment| assignment.power_url.clone()).collect();
    let outlets: Vec<Option<String>> =
        assignments.iter().map(|assignment| assignment.outlet.clone()).collect();
    // Cleared first, as two boards may have swapped outlets.
    sqlx::query!("UPDATE device SET power_outlet = NULL WHERE instance_id = ANY ($1)", &ids)
        .execute(&mut **tx)
        .await?;
    sqlx::query!(
        "UPDATE device d SET power_outlet = w.outlet
           FROM unnest($1::bigint[], $2::text[], $3::text[]) AS w (id, url, outlet)
          WHERE d.instance_id = w.id AND d.power_url IS NOT DISTINCT FROM w.url",
        &ids,
        urls.as_slice() as _,
        outlets.as_slice() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Reads the inventory data of an instance, if it is a board.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_device(db: &mut PgConnection, id: InstanceId) -> Result<Option<Device>, StoreError> {
    let device = sqlx::query_scalar!(
        r#"SELECT to_jsonb(d) AS "device!: Json<Device>" FROM device d WHERE instance_id = $1"#,
        id.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(device.map(|Json(device)| device))
}

/// Lists the distinct values of the field `field`; of list fields, those in the lists.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_values(db: &mut PgConnection, field: &str) -> Result<Vec<String>, StoreError> {
    let all = sqlx::query_scalar!(
        r#"SELECT DISTINCT value AS "value!"
             FROM device d, jsonb_array_elements_text(CASE jsonb_typeof(to_jsonb(d) -> $1)
                                                      WHEN 'array' THEN to_jsonb(d) -> $1
                                                      ELSE jsonb_build_array(to_jsonb(d) -> $1) END) AS value
            WHERE value IS NOT NULL ORDER BY 1"#,
        field,
    );
    Ok(all.fetch_all(db).await?)
}

/// Lists the types of hardware of the boards.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_hardware(db: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT DISTINCT hardware FROM device ORDER BY hardware").fetch_all(db).await?)
}

/// Lists the images that are installed on boards of `machine`.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_installed(db: &mut PgConnection, machine: &MachineName) -> Result<Vec<String>, StoreError> {
    let all = sqlx::query_scalar!(
        r#"SELECT DISTINCT data->>'image' AS "image!" FROM instance
            WHERE machine = $1 AND data->>'image' IS NOT NULL ORDER BY 1"#,
        machine.as_str(),
    );
    Ok(all.fetch_all(db).await?)
}

/// Finds the board with this MAC address.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_by_mac(db: &mut PgConnection, mac: &str) -> Result<Option<InstanceId>, StoreError> {
    let id =
        sqlx::query_scalar!("SELECT instance_id FROM device WHERE mac = $1", mac).fetch_optional(db).await?;
    Ok(id.map(InstanceId))
}

/// Finds the MAC address of the board that is registered with `address`, if there is exactly one.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_mac_at(db: &mut PgConnection, address: &str) -> Result<Option<String>, StoreError> {
    let macs =
        sqlx::query_scalar!("SELECT mac FROM device WHERE fqdn = $1 LIMIT 2", address).fetch_all(db).await?;
    Ok(<[String; 1]>::try_from(macs).ok().map(|[mac]| mac))
}

/// Reads the facts of those of `ids` that are boards.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub(in crate::boards) async fn read_facts(
    db: &mut PgConnection,
    ids: &[InstanceId],
) -> Result<Vec<(InstanceId, BoardFacts)>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        FactsRow,
        r#"SELECT instance_id, to_jsonb(d) - 'comments' AS "device!: Json<Device>", answered_url
             FROM device d WHERE instance_id = ANY ($1)"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (InstanceId(row.instance_id), BoardFacts::from(row))).collect())
}

struct FactsRow {
    instance_id: i64,
    device: Json<Device>,
    answered_url: Option<String>,
}

impl From<FactsRow> for BoardFacts {
    fn from(row: FactsRow) -> Self {
        let FactsRow { instance_id: _, device: Json(device), answered_url } = row;
        Self { device, answered_url }
    }
}

/// Stores that boards answered a poll at these URLs, if the URLs are still theirs.
///
/// Rewrites the rows of the instances for which the answer is new, and returns their IDs.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn save_answered_urls(
    db: &mut PgConnection,
    answers: &[(InstanceId, &str)],
) -> Result<Vec<InstanceId>, StoreError> {
    if answers.is_empty() {
        return Ok(Vec::new());
    }
    let (ids, urls): (Vec<i64>, Vec<&str>) = answers.iter().map(|(id, url)| (id.0, *url)).unzip();
    // Everywhere, instances are locked before their boards, in the order of their IDs.
    let changed = sqlx::query_scalar!(
        "WITH answered AS MATERIALIZED (
             SELECT i.instance_id, n.url
               FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::text[]) AS url) n
               JOIN device d ON d.instance_id = n.id AND d.poll_url = n.url AND d.answered_url IS DISTINCT FROM n.url
               JOIN instance i ON i.instance_id = n.id
              ORDER BY i.instance_id FOR UPDATE OF i
         ),
         updated AS (
             UPDATE device d SET answered_url = a.url FROM answered a
              WHERE d.instance_id = a.instance_id AND d.poll_url = a.url
          RETURNING d.instance_id
         )
         UPDATE instance i SET visit = i.visit FROM updated u WHERE i.instance_id = u.instance_id
      RETURNING i.instance_id",
        &ids,
        &urls as _,
    )
    .fetch_all(db)
    .await?;
    Ok(changed.into_iter().map(InstanceId).collect())
}

struct BoardRow {
    instance_id: i64,
    state: String,
    visit: i64,
    since: DateTime<Utc>,
    deadline_at: Option<DateTime<Utc>>,
    remaining_us: Option<i64>,
    remaining_visit: Option<i64>,
    counters: Json<BTreeMap<CounterName, i64>>,
    data: Json<Map<String, Value>>,
    links: Option<Json<StoredLinks>>,
    device: Json<Device>,
}

/// Finds a board by its name.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find(
    db: &mut PgConnection,
    machine: &MachineName,
    board: &str,
) -> Result<Option<Board>, StoreError> {
    let row = sqlx::query_as!(
        BoardRow,
        r#"SELECT i.instance_id, i.state, i.visit, i.entered_at AS since,
                  i.deadline_at, i.remaining_us, i.remaining_visit,
                  i.counters AS "counters: Json<BTreeMap<CounterName, i64>>",
                  i.data AS "data: Json<Map<String, Value>>", i.links AS "links: Json<StoredLinks>",
                  to_jsonb(d) AS "device!: Json<Device>"
             FROM instance i JOIN device d USING (instance_id)
            WHERE i.machine = $1 AND i.name = $2"#,
        machine.as_str(),
        board,
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let instance = Instance {
        machine: machine.clone(),
        name: board.to_owned(),
        state: checked_name_of_row(StateName::new(&row.state))?,
        visit: Visit(row.visit),
        since: row.since,
        deadline_at: row.deadline_at,
        remaining: remaining_time(row.visit, row.remaining_us, row.remaining_visit),
        counters: row.counters.0,
        data: row.data.0,
        links: row.links.unwrap_or_default().0.split().0,
    };
    let Json(device) = row.device;
    Ok(Some(Board { id: InstanceId(row.instance_id), instance, device }))
}

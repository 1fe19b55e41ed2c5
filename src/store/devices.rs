//! Boards: what is known of them besides their lifecycle, and both together for those who read.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::instances::{InstanceId, name};
use super::{StoreError, Tx};
use crate::machine::{CounterName, Instance, MachineName, StateName, Visit};

/// What is known of a board besides its lifecycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The host name or address that it answers on.
    pub fqdn: String,
    /// Its network address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// Where its power is switched.
    pub power_url: Option<String>,
    /// What answers when it is up.
    pub poll_url: Option<String>,
    /// Its type of hardware, which says what boots on it.
    pub hardware: String,
    /// Which part of the farm it belongs to.
    pub environment: String,
    /// What people wrote about it.
    pub comments: String,
}

/// A board with its lifecycle.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// Its number.
    pub id: InstanceId,
    /// Its lifecycle; the board's name is the instance's.
    pub instance: Instance,
    /// The rest.
    pub device: Device,
}

/// Writes what is known of a new instance's board.
///
/// # Errors
///
/// [`StoreError::Constraint`] `device_mac_key` when another board has this address.
pub async fn insert(
    tx: &mut Tx,
    id: InstanceId,
    device: &Device,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO device (instance_id, fqdn, mac, power_url, poll_url, hardware, environment, comments, registered_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        id.0,
        device.fqdn,
        device.mac,
        device.power_url,
        device.poll_url,
        device.hardware,
        device.environment,
        device.comments,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes what is known of a board anew.
///
/// # Errors
///
/// [`StoreError::Constraint`] `device_mac_key` when another board has this address.
pub async fn save(tx: &mut Tx, id: InstanceId, device: &Device) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE device SET fqdn = $2, mac = $3, power_url = $4, poll_url = $5, hardware = $6, environment = $7,
                           comments = $8
          WHERE instance_id = $1",
        id.0,
        device.fqdn,
        device.mac,
        device.power_url,
        device.poll_url,
        device.hardware,
        device.environment,
        device.comments,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Reads what is known of an instance's board, if it is one.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_device(db: &mut PgConnection, id: InstanceId) -> Result<Option<Device>, StoreError> {
    let device = sqlx::query_as!(
        Device,
        "SELECT fqdn, mac, power_url, poll_url, hardware, environment, comments FROM device WHERE instance_id = $1",
        id.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(device)
}

/// Finds the board of this network address.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_by_mac(db: &mut PgConnection, mac: &str) -> Result<Option<InstanceId>, StoreError> {
    let id =
        sqlx::query_scalar!("SELECT instance_id FROM device WHERE mac = $1", mac).fetch_optional(db).await?;
    Ok(id.map(InstanceId))
}

struct BoardRow {
    instance_id: i64,
    state: String,
    visit: i64,
    entered_at: DateTime<Utc>,
    deadline_at: Option<DateTime<Utc>>,
    counters: Json<BTreeMap<CounterName, i64>>,
    data: Json<Map<String, Value>>,
    fqdn: String,
    mac: String,
    power_url: Option<String>,
    poll_url: Option<String>,
    hardware: String,
    environment: String,
    comments: String,
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
        r#"SELECT i.instance_id, i.state, i.visit, i.entered_at, i.deadline_at,
                  i.counters AS "counters: Json<BTreeMap<CounterName, i64>>",
                  i.data AS "data: Json<Map<String, Value>>",
                  d.fqdn, d.mac, d.power_url, d.poll_url, d.hardware, d.environment, d.comments
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
        state: name(StateName::new(&row.state))?,
        visit: Visit(row.visit),
        entered_at: row.entered_at,
        deadline_at: row.deadline_at,
        counters: row.counters.0,
        data: row.data.0,
    };
    let device = Device {
        fqdn: row.fqdn,
        mac: row.mac,
        power_url: row.power_url,
        poll_url: row.poll_url,
        hardware: row.hardware,
        environment: row.environment,
        comments: row.comments,
    };
    Ok(Some(Board { id: InstanceId(row.instance_id), instance, device }))
}

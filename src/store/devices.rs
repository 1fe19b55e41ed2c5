//! Boards: what is known of them besides their lifecycle, and both together for those who read.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::types::Json;
use sqlx::{QueryBuilder, Row};

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

/// Which boards a list is about. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these states; a trailing `*` stands for the rest of a name.
    pub states: Vec<String>,
    /// Of this type of hardware.
    pub hardware: Option<String>,
    /// In this environment.
    pub environment: Option<String>,
    /// Running this image.
    pub image: Option<String>,
    /// With this text in the name.
    pub name: Option<String>,
    /// After this name.
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<i64>,
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

/// Finds a board by its name.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find(
    db: &mut PgConnection,
    machine: &MachineName,
    name: &str,
) -> Result<Option<Board>, StoreError> {
    let mut query = select(machine);
    query.push(" AND i.name = ").push_bind(name);
    query.build().fetch_optional(db).await?.map(|row| board(&row)).transpose()
}

/// Lists boards by name.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list(
    db: &mut PgConnection,
    machine: &MachineName,
    filter: &Filter,
) -> Result<Vec<Board>, StoreError> {
    let mut query = select(machine);
    if !filter.states.is_empty() {
        let patterns: Vec<String> = filter.states.iter().map(|state| like(state, '*')).collect();
        query.push(" AND i.state LIKE ANY (").push_bind(patterns).push(")");
    }
    for (column, wanted) in [
        (" AND d.hardware = ", &filter.hardware),
        (" AND d.environment = ", &filter.environment),
        (" AND i.data->>'image' = ", &filter.image),
        (" AND i.name > ", &filter.after),
    ] {
        if let Some(wanted) = wanted {
            query.push(column).push_bind(wanted);
        }
    }
    if let Some(part) = &filter.name {
        query.push(" AND i.name LIKE ").push_bind(format!("%{}%", like(part, '\0')));
    }
    query.push(" ORDER BY i.name");
    if let Some(limit) = filter.limit {
        query.push(" LIMIT ").push_bind(limit);
    }
    query.build().fetch_all(db).await?.iter().map(board).collect()
}

/// Makes a LIKE pattern of `text`, in which only `joker` stands for anything.
fn like(text: &str, joker: char) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' | '_' | '\\' => pattern.extend(['\\', c]),
            c if c == joker => pattern.push('%'),
            c => pattern.push(c),
        }
    }
    pattern
}

/// The one reading of boards; the list adds its filter.
fn select(machine: &MachineName) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(
        "SELECT i.instance_id, i.machine, i.name, i.state, i.visit, i.entered_at, i.deadline_at, i.counters, i.data,
                d.fqdn, d.mac, d.power_url, d.poll_url, d.hardware, d.environment, d.comments
           FROM instance i JOIN device d USING (instance_id)
          WHERE i.machine = ",
    );
    query.push_bind(machine.as_str().to_owned());
    query
}

fn board(row: &sqlx::postgres::PgRow) -> Result<Board, StoreError> {
    let counters: Json<BTreeMap<CounterName, i64>> = row.try_get("counters")?;
    let data: Json<Map<String, Value>> = row.try_get("data")?;
    Ok(Board {
        id: InstanceId(row.try_get("instance_id")?),
        instance: Instance {
            machine: name(MachineName::new(row.try_get("machine")?))?,
            name: row.try_get("name")?,
            state: name(StateName::new(row.try_get("state")?))?,
            visit: Visit(row.try_get("visit")?),
            entered_at: row.try_get("entered_at")?,
            deadline_at: row.try_get("deadline_at")?,
            counters: counters.0,
            data: data.0,
        },
        device: Device {
            fqdn: row.try_get("fqdn")?,
            mac: row.try_get("mac")?,
            power_url: row.try_get("power_url")?,
            poll_url: row.try_get("poll_url")?,
            hardware: row.try_get("hardware")?,
            environment: row.try_get("environment")?,
            comments: row.try_get("comments")?,
        },
    })
}

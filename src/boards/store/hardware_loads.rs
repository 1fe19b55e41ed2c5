//! The currents that boards draw when they are switched on, by hardware.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;

use crate::store::instances::InstanceId;
use crate::store::{StoreError, Tx};

/// Lists the loads in milliampere, by hardware.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list(db: &mut PgConnection) -> Result<BTreeMap<String, u32>, StoreError> {
    let rows = sqlx::query!("SELECT hardware, load_ma FROM hardware_load").fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.hardware, u32::try_from(row.load_ma).unwrap_or_default())).collect())
}

/// Sets the loads of all hardware, in place of those before.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn save_all(tx: &mut Tx, loads: &BTreeMap<String, u32>) -> Result<(), StoreError> {
    let (hardware, loads_ma): (Vec<String>, Vec<i32>) =
        loads.iter().map(|(hardware, ma)| (hardware.clone(), i32::try_from(*ma).unwrap_or(i32::MAX))).unzip();
    sqlx::query!("DELETE FROM hardware_load WHERE hardware <> ALL ($1)", &hardware)
        .execute(&mut **tx)
        .await?;
    sqlx::query!(
        "INSERT INTO hardware_load (hardware, load_ma)
         SELECT n.hardware, n.load_ma FROM unnest($1::text[], $2::int[]) n (hardware, load_ma)
         ON CONFLICT (hardware) DO UPDATE SET load_ma = excluded.load_ma",
        &hardware,
        &loads_ma,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Reads the loads of those of `ids` that are boards whose hardware has one, in milliampere.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read(db: &mut PgConnection, ids: &[InstanceId]) -> Result<Vec<(InstanceId, u32)>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        "SELECT d.instance_id, l.load_ma FROM device d JOIN hardware_load l USING (hardware)
          WHERE d.instance_id = ANY ($1)",
        &ids,
    );
    let rows = rows.fetch_all(db).await?;
    let load = |ma: i32| u32::try_from(ma).unwrap_or_default();
    Ok(rows.into_iter().map(|row| (InstanceId(row.instance_id), load(row.load_ma))).collect())
}

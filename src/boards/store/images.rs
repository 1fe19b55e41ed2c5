//! Images and their boot configs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::super::image::{BootConfigs, Image};
use crate::machine::MachineName;
use crate::store::{StoreError, Tx};

/// Inserts or replaces an image and its boot configs; true if the image is new.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn put(tx: &mut Tx, image: &Image, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let is_new = sqlx::query_scalar!(
        r#"INSERT INTO image (name, about, registered_at) VALUES ($1, $2, $3)
           ON CONFLICT (name) DO UPDATE SET about = excluded.about
           RETURNING (xmax = 0) AS "is_new!""#,
        image.name,
        image.about,
        now,
    )
    .fetch_one(&mut **tx)
    .await?;
    sqlx::query!("DELETE FROM boot_config WHERE image = $1", image.name).execute(&mut **tx).await?;
    let (hardware, files): (Vec<String>, Vec<String>) = image.boot_configs.clone().into_iter().unzip();
    sqlx::query!(
        "INSERT INTO boot_config (image, hardware, file)
         SELECT $1, new.hardware, new.file FROM unnest($2::text[], $3::text[]) AS new (hardware, file)",
        image.name,
        &hardware,
        &files,
    )
    .execute(&mut **tx)
    .await?;
    Ok(is_new)
}

/// Deletes an image; false if there was none.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn delete(tx: &mut Tx, name: &str) -> Result<bool, StoreError> {
    let done = sqlx::query!("DELETE FROM image WHERE name = $1", name).execute(&mut **tx).await?;
    Ok(done.rows_affected() == 1)
}

/// Lists the boards that the image is being installed on, by name, except those whose hardware is among `remaining_hardware`.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_recipients(
    db: &mut PgConnection,
    machine: &MachineName,
    image: &str,
    remaining_hardware: &[String],
) -> Result<Vec<String>, StoreError> {
    let names = sqlx::query_scalar!(
        "SELECT i.name FROM instance i JOIN device d USING (instance_id)
           JOIN boot_config b ON b.image = $2 AND b.hardware = d.hardware
          WHERE i.machine = $1 AND i.data->>'next_image' = $2 AND d.hardware <> ALL ($3) ORDER BY i.name",
        machine.as_str(),
        image,
        remaining_hardware,
    )
    .fetch_all(db)
    .await?;
    Ok(names)
}

/// Lists all images, by name.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list(db: &mut PgConnection) -> Result<Vec<Image>, StoreError> {
    let rows = sqlx::query_as!(
        ImageRow,
        r#"SELECT i.name, i.about,
                  (SELECT coalesce(jsonb_object_agg(b.hardware, b.file), '{}') FROM boot_config b WHERE b.image = i.name)
                  AS "boot_configs!: Json<BTreeMap<String, String>>"
             FROM image i ORDER BY i.name"#,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Image::from).collect())
}

struct ImageRow {
    name: String,
    about: String,
    boot_configs: Json<BTreeMap<String, String>>,
}

impl From<ImageRow> for Image {
    fn from(row: ImageRow) -> Self {
        let ImageRow { name, about, boot_configs: Json(boot_configs) } = row;
        Self { name, about, boot_configs }
    }
}

/// Lists the boot configs of each type of hardware.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_by_hardware(db: &mut PgConnection) -> Result<Vec<BootConfigs>, StoreError> {
    let rows = sqlx::query_as!(
        HardwareRow,
        r#"SELECT hardware, array_agg(image ORDER BY image) AS "images!", array_agg(file ORDER BY image) AS "files!"
             FROM boot_config GROUP BY hardware"#,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(BootConfigs::from).collect())
}

struct HardwareRow {
    hardware: String,
    images: Vec<String>,
    files: Vec<String>,
}

impl From<HardwareRow> for BootConfigs {
    fn from(row: HardwareRow) -> Self {
        let HardwareRow { hardware, images, files } = row;
        Self { hardware, files: images.into_iter().zip(files).collect() }
    }
}

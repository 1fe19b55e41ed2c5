//! The machine definitions that were in force.

use chrono::{DateTime, Utc};

use super::{StoreError, Tx};
use crate::machine::MachineName;

/// Remembers the text of a definition; the same text is remembered once.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn adopt(
    tx: &mut Tx,
    machine: &MachineName,
    source: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO definition (machine, digest, source, adopted_at)
         VALUES ($1, encode(sha256(convert_to($2, 'UTF8')), 'hex'), $2, $3)
         ON CONFLICT DO NOTHING",
        machine.as_str(),
        source,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

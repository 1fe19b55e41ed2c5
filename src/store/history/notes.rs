//! Notes: entries without a decision, which are rewritten when more is known.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use crate::store::instances::InstanceId;
use crate::store::{StoreError, Tx};

/// Identifies a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoteId {
    /// The ID of the entry.
    pub history_id: i64,
    /// The time of the entry, which determines its partition.
    pub at: DateTime<Utc>,
}

/// The maximum age of a note that is rewritten.
const MAX_NOTE_AGE: TimeDelta = TimeDelta::days(1);

/// Finds the last note `event` of an instance from `sender`.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_last_note(
    db: &mut PgConnection,
    instance: InstanceId,
    event: &str,
    sender: &str,
    now: DateTime<Utc>,
) -> Result<Option<NoteId>, StoreError> {
    let note = sqlx::query_as!(
        NoteId,
        r#"SELECT history_id, at FROM history
            WHERE instance_id = $1 AND kind = 'note' AND event = $2 AND sender = $3 AND at >= $4
            ORDER BY history_id DESC LIMIT 1"#,
        instance.0,
        event,
        sender,
        now - MAX_NOTE_AGE,
    )
    .fetch_optional(db)
    .await?;
    Ok(note)
}

/// Rewrites a note with what is known now; false if it no longer exists.
///
/// Only notes may be rewritten: all other history stays as it was written.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn rewrite_note(
    tx: &mut Tx,
    instance: InstanceId,
    note: NoteId,
    evidence: &Map<String, Value>,
    reason: &str,
) -> Result<bool, StoreError> {
    let rewritten = sqlx::query!(
        "UPDATE history SET evidence = $4, reason = $5
          WHERE instance_id = $1 AND history_id = $2 AND at = $3 AND kind = 'note'",
        instance.0,
        note.history_id,
        note.at,
        Json(evidence) as _,
        reason,
    )
    .execute(&mut **tx)
    .await?;
    Ok(rewritten.rows_affected() == 1)
}

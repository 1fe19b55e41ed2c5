//! Reading entries: of one instance, or of all instances of a machine.

use futures_util::{Stream, StreamExt};
use serde_json::value::RawValue;
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::entry::HistoryEntry;
use super::row::HistoryRow;
use crate::machine::MachineName;
use crate::store::StoreError;
use crate::store::instances::InstanceId;

/// Lists at most `limit` entries of an instance before the entry `before`, the newest first.
///
/// Entries that it shares with other instances are left out: re-entries of its state by its own deadline.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list(
    db: &mut PgConnection,
    instance: InstanceId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<HistoryEntry>, StoreError> {
    let rows = sqlx::query_as!(
        HistoryRow,
        r#"SELECT instance_id AS "instance_id!", history_id, at, kind, event, source, sender, spoken_visit,
                  args AS "args: Json<Box<RawValue>>", entry_facts(history) AS "facts: Json<Box<RawValue>>",
                  outcome, from_state, to_state, visit AS "visit!", reason,
                  evidence AS "evidence: Json<Box<RawValue>>", predicted AS "predicted: Json<Box<RawValue>>"
             FROM history
            WHERE instance_id = $1 AND history_id < coalesce($2, 9223372036854775807)
            ORDER BY history_id DESC LIMIT $3"#,
        instance.0,
        before,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(HistoryEntry::from).collect())
}

/// Lists all entries of an instance, the oldest first, including those that it shares with other instances.
///
/// For replay only: there is no index of shared entries, so all of them are read.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_all(db: &mut PgConnection, instance: InstanceId) -> Result<Vec<HistoryEntry>, StoreError> {
    // The entry that began a visit comes first, regardless of the order of IDs within one transaction.
    let rows = sqlx::query_as!(
        HistoryRow,
        r#"SELECT $1::bigint AS "instance_id!", history_id AS "history_id!", at AS "at!", kind AS "kind!", event,
                  source, sender, spoken_visit, args AS "args: Json<Box<RawValue>>", facts AS "facts: Json<Box<RawValue>>",
                  outcome, from_state AS "from_state!", to_state, visit AS "visit!", reason,
                  evidence AS "evidence: Json<Box<RawValue>>", predicted AS "predicted: Json<Box<RawValue>>"
             FROM (SELECT history_id, at, kind, event, source, sender, spoken_visit, args,
                          entry_facts(history) AS facts, outcome, from_state, to_state, visit, reason, evidence, predicted
                     FROM history WHERE instance_id = $1
                   UNION ALL
                   SELECT h.history_id, h.at, 'deadline', NULL, NULL, NULL, NULL, NULL, NULL, NULL, h.from_state,
                          NULL, shared.visit, NULL, NULL, NULL
                     FROM history h, unnest(h.instances, h.visits) AS shared (instance_id, visit)
                    WHERE h.kind = 'kept' AND shared.instance_id = $1) AS entry
            ORDER BY visit, outcome IS NULL DESC, history_id"#,
        instance.0,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(HistoryEntry::from).collect())
}

/// Streams all entries of the existing instances of `machine`, in the order of their IDs.
///
/// An entry that several instances share comes once for each.
///
/// # Errors
///
/// The stream ends with [`StoreError`] when the statement fails.
pub fn stream<'a>(
    db: &'a mut PgConnection,
    machine: &'a MachineName,
    name: Option<&'a str>,
) -> impl Stream<Item = Result<(InstanceId, HistoryEntry), StoreError>> + 'a {
    let rows = sqlx::query_as!(
        HistoryRow,
        r#"WITH wanted AS (SELECT instance_id FROM instance WHERE machine = $1 AND name = coalesce($2, name))
           SELECT entry.instance_id AS "instance_id!", history_id AS "history_id!", at AS "at!", kind AS "kind!", event,
                  source, sender, spoken_visit, args AS "args: Json<Box<RawValue>>",
                  facts AS "facts: Json<Box<RawValue>>", outcome, from_state AS "from_state!", to_state,
                  visit AS "visit!", reason, evidence AS "evidence: Json<Box<RawValue>>",
                  predicted AS "predicted: Json<Box<RawValue>>"
             FROM (SELECT instance_id, history_id, at, kind, event, source, sender, spoken_visit, args,
                          entry_facts(history) AS facts, outcome, from_state, to_state, visit, reason, evidence, predicted
                     FROM history WHERE instance_id IS NOT NULL
                   UNION ALL
                   SELECT shared.instance_id, h.history_id, h.at, 'deadline', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                          h.from_state, NULL, shared.visit, NULL, NULL, NULL
                     FROM history h, unnest(h.instances, h.visits) AS shared (instance_id, visit)
                    WHERE h.kind = 'kept') AS entry
             JOIN wanted ON wanted.instance_id = entry.instance_id
            ORDER BY history_id"#,
        machine.as_str(),
        name,
    )
    .fetch(db);
    rows.map(|row| {
        let row = row?;
        Ok((InstanceId(row.instance_id), HistoryEntry::from(row)))
    })
}

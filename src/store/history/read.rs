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

/// Lists at most `most` entries of an instance that come before entry `before`, the newest first.
///
/// What it shares with others is not among them: that its deadline entered its state anew and kept its actions.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list(
    db: &mut PgConnection,
    instance: InstanceId,
    before: Option<i64>,
    most: i64,
) -> Result<Vec<HistoryEntry>, StoreError> {
    let rows = sqlx::query_as!(
        HistoryRow,
        r#"SELECT history_id, at, kind, event, source, sender, spoken_visit,
                  args AS "args: Json<Box<RawValue>>", entry_facts(history) AS "facts: Json<Box<RawValue>>",
                  outcome, from_state, to_state, visit AS "visit!", reason,
                  evidence AS "evidence: Json<Box<RawValue>>", predicted AS "predicted: Json<Box<RawValue>>"
             FROM history
            WHERE instance_id = $1 AND history_id < coalesce($2, 9223372036854775807)
            ORDER BY history_id DESC LIMIT $3"#,
        instance.0,
        before,
        most,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(HistoryEntry::from).collect())
}

/// Lists all entries of an instance, the oldest first, with those that it shares with others.
///
/// For replay only: no index has the shared ones, so that all of them are read.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_all(db: &mut PgConnection, instance: InstanceId) -> Result<Vec<HistoryEntry>, StoreError> {
    // What began a visit comes before all else of that visit, whatever their numbers within one transaction.
    let rows = sqlx::query_as!(
        HistoryRow,
        r#"SELECT history_id AS "history_id!", at AS "at!", kind AS "kind!", event, source, sender, spoken_visit,
                  args AS "args: Json<Box<RawValue>>", facts AS "facts: Json<Box<RawValue>>",
                  outcome, from_state AS "from_state!", to_state, visit AS "visit!", reason,
                  evidence AS "evidence: Json<Box<RawValue>>", predicted AS "predicted: Json<Box<RawValue>>"
             FROM (SELECT history_id, at, kind, event, source, sender, spoken_visit, args,
                          entry_facts(history) AS facts, outcome, from_state, to_state, visit, reason, evidence, predicted
                     FROM history WHERE instance_id = $1
                   UNION ALL
                   SELECT h.history_id, h.at, 'deadline', NULL, NULL, NULL, NULL, NULL, NULL, NULL, h.from_state,
                          NULL, kept.visit, NULL, NULL, NULL
                     FROM history h, unnest(h.instances, h.visits) AS kept (instance_id, visit)
                    WHERE h.kind = 'kept' AND kept.instance_id = $1) AS entry
            ORDER BY visit, outcome IS NULL DESC, history_id"#,
        instance.0,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(HistoryEntry::from).collect())
}

/// Reads everything that happened to the instances of `machine`, those that are gone left out, in the order of its numbers:
/// what several have in common comes once for each.
///
/// # Errors
///
/// The stream ends with [`StoreError`] when the statement fails.
pub fn stream<'a>(
    db: &'a mut PgConnection,
    machine: &'a MachineName,
    name: Option<&'a str>,
) -> impl Stream<Item = Result<(InstanceId, HistoryEntry), StoreError>> + 'a {
    let rows = sqlx::query!(
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
                   SELECT kept.instance_id, h.history_id, h.at, 'deadline', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                          h.from_state, NULL, kept.visit, NULL, NULL, NULL
                     FROM history h, unnest(h.instances, h.visits) AS kept (instance_id, visit)
                    WHERE h.kind = 'kept') AS entry
             JOIN wanted ON wanted.instance_id = entry.instance_id
            ORDER BY history_id"#,
        machine.as_str(),
        name,
    )
    .fetch(db);
    rows.map(|row| {
        let row = row?;
        let instance = InstanceId(row.instance_id);
        let entry = HistoryEntry::from(HistoryRow {
            history_id: row.history_id,
            at: row.at,
            kind: row.kind,
            event: row.event,
            source: row.source,
            sender: row.sender,
            spoken_visit: row.spoken_visit,
            args: row.args,
            facts: row.facts,
            outcome: row.outcome,
            from_state: row.from_state,
            to_state: row.to_state,
            visit: row.visit,
            reason: row.reason,
            evidence: row.evidence,
            predicted: row.predicted,
        });
        Ok((instance, entry))
    })
}

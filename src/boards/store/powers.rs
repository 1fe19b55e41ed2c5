//! The last observation of a board's power, read from history.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::super::observed_power::{PowerObservation, PowerSource};
use crate::outlets::OUTLET_MACHINE;
use crate::store::StoreError;
use crate::store::instances::InstanceId;

/// The maximum number of entries that are searched, of the board and of its outlet, the newest first.
const MAX_ENTRIES_SEARCHED: i64 = 2000;

/// Reads the last observation of a board's power: by its actions, by hand at `outlet`, or by what the board sent.
///
/// `outlet` is the name of the instance of its outlet. Readings by its actions from before the last change of its power URL
/// are left out: they are those of another outlet.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub(in crate::boards) async fn read_last_observation(
    db: &mut PgConnection,
    board: InstanceId,
    outlet: Option<&str>,
) -> Result<Option<PowerObservation>, StoreError> {
    let row = sqlx::query_as!(
        ObservationRow,
        r#"WITH wanted AS (
               SELECT $1::bigint AS id, false AS is_outlet
               UNION ALL
               SELECT instance_id, true FROM instance WHERE machine = $2 AND name = $3),
           recent AS MATERIALIZED (
               SELECT h.* FROM wanted,
                      LATERAL (SELECT wanted.is_outlet, history_id, at, kind, event, source, evidence,
                                      coalesce(args ->> 'reason', evidence ->> 'result') AS reason,
                                      kind = 'event' AND source = 'action'
                                          AND event ~ '^power-(on|off|cycle|read)-(ok|failed)$'
                                          AND evidence ? 'observed' AS is_reading
                                 FROM history WHERE instance_id = wanted.id
                                ORDER BY history_id DESC LIMIT $4) h),
           changed AS (
               SELECT coalesce(max(history_id), 0) AS history_id FROM recent
                WHERE NOT is_outlet AND kind = 'note' AND event = 'changed' AND evidence ? 'power_url'),
           observation AS (
               SELECT is_outlet, history_id, at, event, evidence ->> 'observed' AS observed, reason
                 FROM recent WHERE is_reading AND (is_outlet OR history_id > (SELECT history_id FROM changed))
               UNION ALL
               SELECT NULL, history_id,
                      CASE kind WHEN 'note' THEN coalesce((evidence ->> 'at')::timestamptz, at) ELSE at END,
                      event, NULL, NULL
                 FROM recent
                WHERE NOT is_outlet AND (kind = 'event' AND source = 'board'
                      OR kind = 'note' AND event IN ('asked', 'asked-boot-config', 'fetched')))
           SELECT is_outlet AS "is_outlet?", at AS "at!", event AS "event!", observed, reason
             FROM observation ORDER BY at DESC, history_id DESC LIMIT 1"#,
        board.0,
        OUTLET_MACHINE,
        outlet,
        MAX_ENTRIES_SEARCHED,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(PowerObservation::from))
}

struct ObservationRow {
    /// Whether it is from the history of the outlet; NULL for what the board sent.
    is_outlet: Option<bool>,
    at: DateTime<Utc>,
    event: String,
    observed: Option<String>,
    reason: Option<String>,
}

impl From<ObservationRow> for PowerObservation {
    fn from(row: ObservationRow) -> Self {
        let ObservationRow { is_outlet, at, event, observed, reason } = row;
        let source = match is_outlet {
            None => PowerSource::Board,
            Some(true) => PowerSource::ByHand,
            Some(false) => PowerSource::Action,
        };
        Self { at, source, event, observed, reason }
    }
}

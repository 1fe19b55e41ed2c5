//! The last observations of a board's power, read from history.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::super::observed_power::{PowerHistory, PowerObservation, PowerSource};
use crate::outlets::OUTLET_MACHINE;
use crate::store::StoreError;
use crate::store::instances::InstanceId;

/// The maximum number of entries that are searched, of the board and of its outlet, the newest first.
const MAX_ENTRIES_SEARCHED: i64 = 2000;

/// The maximum number of readings that are returned: more of them say nothing more about how the outlet is wired.
const MAX_READINGS: i64 = 5;

/// Reads the last observations of a board's power: readings by its actions and by hand at `outlet`, and what the board sent.
///
/// `outlet` is the name of the instance of its outlet. Readings from before the board was registered, or before the last change
/// of its power URL, are left out: they are those of another outlet or board, or of an outlet that was believed to be wired in
/// another way.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub(in crate::boards) async fn read_history(
    db: &mut PgConnection,
    board: InstanceId,
    outlet: Option<&str>,
) -> Result<PowerHistory, StoreError> {
    let rows = sqlx::query_as!(
        ObservationRow,
        r#"WITH wanted AS (
               SELECT $1::bigint AS id, false AS is_outlet, '-infinity'::timestamptz AS since
               UNION ALL
               SELECT i.instance_id, true, d.registered_at FROM instance i, device d
                WHERE i.machine = $2 AND i.name = $3 AND d.instance_id = $1),
           recent AS MATERIALIZED (
               SELECT h.* FROM wanted,
                      LATERAL (SELECT wanted.is_outlet, history_id, at, kind, event, source, evidence,
                                      coalesce(args ->> 'reason', evidence ->> 'result') AS reason,
                                      kind = 'event' AND source = 'action'
                                          AND event ~ '^power-(on|off|cycle|read)-(ok|failed)$'
                                          AND evidence ? 'observed' AS is_reading
                                 FROM history WHERE instance_id = wanted.id AND at >= wanted.since
                                ORDER BY history_id DESC LIMIT $4) h),
           changed AS (
               SELECT max(history_id) AS history_id, max(at) AS at FROM recent
                WHERE NOT is_outlet AND kind = 'note' AND event = 'changed' AND evidence ? 'power_url'),
           switched AS (
               SELECT max(at) AS at FROM recent
                WHERE kind = 'event' AND source = 'action' AND event ~ '^power-(on|off|cycle)-(ok|failed)$'
                      OR kind = 'note' AND event = 'power-by-hand'),
           observation AS (
               SELECT is_outlet, history_id, at, event, evidence ->> 'observed' AS observed, reason
                 FROM recent
                WHERE is_reading AND history_id > coalesce((SELECT history_id FROM changed), 0)
               UNION ALL
               SELECT NULL, history_id,
                      CASE kind WHEN 'note' THEN coalesce((evidence ->> 'at')::timestamptz, at) ELSE at END,
                      event, NULL, NULL
                 FROM recent
                WHERE NOT is_outlet AND (kind = 'event' AND (source = 'board' OR source = 'action' AND event = 'poll-ok')
                      OR kind = 'note' AND event IN ('asked', 'asked-boot-config', 'fetched')))
           SELECT is_outlet AS "is_outlet?", o.at AS "at?", event AS "event?", observed, reason,
                  changed.at AS "url_changed_at?", switched.at AS "switched_at?"
             FROM changed CROSS JOIN switched
             LEFT JOIN (SELECT *, row_number() OVER (PARTITION BY is_outlet IS NULL ORDER BY at DESC, history_id DESC) AS nth
                          FROM observation) o
               ON o.nth <= CASE WHEN o.is_outlet IS NULL THEN 1 ELSE $5::bigint END
            ORDER BY o.at DESC, o.history_id DESC"#,
        board.0,
        OUTLET_MACHINE,
        outlet,
        MAX_ENTRIES_SEARCHED,
        MAX_READINGS,
    )
    .fetch_all(db)
    .await?;
    let url_changed_at = rows.first().and_then(|row| row.url_changed_at);
    let switched_at = rows.first().and_then(|row| row.switched_at);
    let observations = rows.into_iter().filter_map(ObservationRow::into_observation).collect();
    Ok(PowerHistory { observations, url_changed_at, switched_at })
}

/// An observation; its columns are NULL in the one row of a board without any.
struct ObservationRow {
    /// Whether it is from the history of the outlet; NULL for what the board sent.
    is_outlet: Option<bool>,
    at: Option<DateTime<Utc>>,
    event: Option<String>,
    observed: Option<String>,
    reason: Option<String>,
    url_changed_at: Option<DateTime<Utc>>,
    switched_at: Option<DateTime<Utc>>,
}

impl ObservationRow {
    fn into_observation(self) -> Option<PowerObservation> {
        let Self { is_outlet, at, event, observed, reason, url_changed_at: _, switched_at: _ } = self;
        let source = match is_outlet {
            None => PowerSource::Board,
            Some(true) => PowerSource::ByHand,
            Some(false) => PowerSource::Action,
        };
        Some(PowerObservation { at: at?, source, event: event?, observed, reason })
    }
}

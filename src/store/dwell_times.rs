//! How long instances stay in states, and what history tells of a present stay: when it began, what was last seen.
//!
//! A stay lasts from the entry of a state to a move to another one. A state that is entered anew, by its own time limit or
//! otherwise, goes on to be the same stay.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;

use super::instances::InstanceId;
use super::{Snapshot, StoreError};
use crate::machine::MachineName;

/// How far back an instance's own history is looked through, in entries.
const MAX_ENTRIES_SEARCHED: i64 = 2000;

/// Entries of an instance's history that explain where it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyHistoryEntries {
    /// The one that its present stay began with.
    pub arrival: Option<i64>,
    /// The last one by which the world itself was heard: something was reported, a file was fetched, or an action ended.
    pub evidence: Option<i64>,
}

/// Finds them among the last 2,000 entries.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_key_entries(
    db: &mut PgConnection,
    instance: InstanceId,
) -> Result<KeyHistoryEntries, StoreError> {
    let landmarks = sqlx::query_as!(
        KeyHistoryEntries,
        r#"SELECT max(history_id) FILTER (WHERE outcome IS NULL AND (to_state IS NOT NULL OR kind = 'created')) AS "arrival?",
                  max(history_id) FILTER (WHERE source <> 'operator'
                       OR (kind = 'note' AND event IN ('asked', 'fetched'))) AS "evidence?"
             FROM (SELECT history_id, kind, event, source, outcome, to_state FROM history
                    WHERE instance_id = $1 ORDER BY history_id DESC LIMIT $2) AS recent"#,
        instance.0,
        MAX_ENTRIES_SEARCHED,
    )
    .fetch_one(db)
    .await?;
    Ok(landmarks)
}

/// How much of history is read to learn usual times, in bytes, if its last two days are not more already. Measured: 385 MB
/// of two million entries take 1.4 s, on a machine that is busy otherwise 3 s; half of that is reading.
const MAX_BYTES_READ: i64 = 512 * 1024 * 1024;
/// How much of what is read is put in order: of a farm whose history is longer, one instance in so many is looked at.
const MAX_BYTES_SORTED: i64 = 64 * 1024 * 1024;
/// How many days of history are read at most.
const MAX_DAYS_READ: u64 = 30;

/// Which part of history usual times are learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleWindow {
    /// From when on.
    pub since: DateTime<Utc>,
    /// One instance in so many.
    pub one_in: i64,
}

/// The days of history that come before `now`, and how large each is, as far as they are read.
fn choose_window(days: &[(NaiveDate, i64)], now: DateTime<Utc>) -> SampleWindow {
    let today = now.date_naive();
    let earliest = today.checked_sub_days(Days::new(MAX_DAYS_READ)).unwrap_or(today);
    let mut past: Vec<(NaiveDate, i64)> =
        days.iter().copied().filter(|(day, _)| (earliest..=today).contains(day)).collect();
    past.sort_unstable();
    let (mut first, mut bytes) = (today, 0);
    for (number, (day, size)) in past.into_iter().rev().enumerate() {
        if number >= 2 && bytes + size > MAX_BYTES_READ {
            break;
        }
        (first, bytes) = (day, bytes + size);
    }
    let since = first.and_time(NaiveTime::MIN).and_utc();
    SampleWindow {
        since,
        one_in: bytes.unsigned_abs().div_ceil(MAX_BYTES_SORTED.unsigned_abs()).max(1).cast_signed(),
    }
}

/// How long stays in a state took.
#[derive(Debug, Clone, PartialEq)]
pub struct DwellStatistics {
    /// The state.
    pub state: String,
    /// How many stays there were.
    pub samples: i64,
    /// Half of them took no longer.
    pub p50: TimeDelta,
    /// Of a hundred, ninety-five took no longer.
    pub p95: TimeDelta,
}

/// Reads how long the recent stays of `machine`'s instances took that began and ended within the window that it says.
///
/// No index helps: it reads all of that time's history, of which it takes no more than it can bear.
///
/// # Errors
///
/// [`StoreError`] when a statement fails, or takes too long.
pub async fn read_dwell_statistics(
    db: &mut Snapshot,
    machine: &MachineName,
    now: DateTime<Utc>,
) -> Result<(SampleWindow, Vec<DwellStatistics>), StoreError> {
    let days = sqlx::query!(
        r#"SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS "day!", pg_relation_size(c.oid) AS "bytes!"
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'history'::regclass AND c.relname ~ '^history_[0-9]{8}$'"#,
    )
    .fetch_all(&mut **db)
    .await?;
    let days: Vec<(NaiveDate, i64)> = days.into_iter().map(|row| (row.day, row.bytes)).collect();
    let window = choose_window(&days, now);
    // On one core, so that the rest of the machine is left to those whose work it is.
    sqlx::query!(
        "SELECT set_config('max_parallel_workers_per_gather', '0', true) || set_config('work_mem', '32MB', true) AS set"
    )
    .fetch_one(&mut **db)
    .await?;
    let rows = sqlx::query!(
        r#"WITH moved AS (
               SELECT h.kind, h.from_state, h.at,
                      lag(h.at) OVER (PARTITION BY h.instance_id ORDER BY h.history_id) AS arrived_at
                 FROM history h JOIN instance i USING (instance_id)
                WHERE i.machine = $1 AND h.at >= $2 AND h.instance_id % $3 = 0
                  AND h.outcome IS NULL AND (h.to_state IS NOT NULL OR h.kind = 'created')),
           stay AS (
               SELECT from_state, extract(epoch FROM at - arrived_at)::float8 AS seconds
                 FROM moved WHERE arrived_at <= at AND kind <> 'created')
           SELECT from_state, count(*) AS "stays!",
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS "p50!",
                  percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS "p95!"
             FROM stay GROUP BY from_state"#,
        machine.as_str(),
        window.since,
        window.one_in,
    )
    .fetch_all(&mut **db)
    .await?;
    let times = rows.into_iter().map(|row| DwellStatistics {
        state: row.from_state,
        samples: row.stays,
        p50: span_of_seconds(row.p50),
        p95: span_of_seconds(row.p95),
    });
    Ok((window, times.collect()))
}

/// A span of so many seconds, to the millisecond.
fn span_of_seconds(seconds: f64) -> TimeDelta {
    #[expect(clippy::cast_possible_truncation, reason = "what is no span of time is cut to the longest")]
    TimeDelta::milliseconds((seconds * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_days_are_read_as_can_be_borne_and_at_least_two() {
        const MB: i64 = 1024 * 1024;
        let now = "2026-01-31T12:00:00Z".parse().unwrap();
        let told = |sizes: &[(u32, i64)]| {
            let day = |day: u32| NaiveDate::from_ymd_opt(2026, 1, day).unwrap();
            let days: Vec<_> = sizes.iter().map(|(number, size)| (day(*number), size * MB)).collect();
            let SampleWindow { since, one_in } = choose_window(&days, now);
            format!("{} 1/{one_in}", since.format("%d %H:%M"))
        };
        assert_eq!(told(&[]), "31 00:00 1/1");
        assert_eq!(told(&[(31, 1), (2, 1), (1, 1), (30, 61)]), "01 00:00 1/1");
        assert_eq!(told(&[(29, 1), (30, 1), (31, 63)]), "29 00:00 1/2");
        assert_eq!(told(&[(28, 1), (29, 400), (30, 100), (31, 12)]), "29 00:00 1/8");
        assert_eq!(told(&[(28, 1), (29, 1), (30, 6400), (31, 0)]), "30 00:00 1/100");
        let later = NaiveDate::from_ymd_opt(2026, 2, 1).unwrap();
        assert_eq!(
            choose_window(&[(later, 900 * MB)], now).one_in,
            1,
            "days that are yet to come are none of it"
        );
        let long_ago = NaiveDate::from_ymd_opt(2025, 12, 31).unwrap();
        assert_eq!(
            choose_window(&[(long_ago, MB)], now).since,
            "2026-01-31T00:00:00Z".parse::<DateTime<Utc>>().unwrap()
        );
    }
}

//! Dwell times of instances in states, and the history entries that explain the current state.
//!
//! A dwell time lasts from the entry of a state to the move to another one. Re-entering the state, by its own deadline or
//! otherwise, does not end it.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;

use super::instances::InstanceId;
use super::{Snapshot, StoreError};
use crate::machine::MachineName;

/// The maximum number of entries of an instance's history that are searched.
const MAX_ENTRIES_SEARCHED: i64 = 2000;

/// The history entries that explain an instance's current state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyHistoryEntries {
    /// The entry of the current state.
    pub arrival: Option<i64>,
    /// The last evidence from outside: a report, a fetched file, or the end of an action.
    pub evidence: Option<i64>,
    /// When the current state was last entered, re-entries included.
    pub entered_at: Option<DateTime<Utc>>,
}

/// Finds the key entries among the last 2,000 ones.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_key_entries(
    db: &mut PgConnection,
    instance: InstanceId,
) -> Result<KeyHistoryEntries, StoreError> {
    let entries = sqlx::query_as!(
        KeyHistoryEntries,
        r#"SELECT max(history_id) FILTER (WHERE outcome IS NULL AND (to_state IS NOT NULL OR kind = 'created')) AS "arrival?",
                  max(history_id) FILTER (WHERE source <> 'operator'
                       OR (kind = 'note' AND event IN ('asked', 'fetched'))) AS "evidence?",
                  max(at) FILTER (WHERE outcome IS NULL) AS "entered_at?"
             FROM (SELECT history_id, at, kind, event, source, outcome, to_state FROM history
                    WHERE instance_id = $1 ORDER BY history_id DESC LIMIT $2) AS recent"#,
        instance.0,
        MAX_ENTRIES_SEARCHED,
    )
    .fetch_one(db)
    .await?;
    Ok(entries)
}

/// The maximum size of the history read for statistics, in bytes; the last two days are read in any case.
///
/// Source: measured: 385 MB of two million entries take 1.4 s, and 3 s on a busy machine; half of that is reading.
const MAX_BYTES_READ: i64 = 512 * 1024 * 1024;
/// The maximum size of the history that is sorted, in bytes: if more is read, only a sample of the instances is used.
const MAX_BYTES_SORTED: i64 = 64 * 1024 * 1024;
/// The maximum number of days of history that are read.
const MAX_DAYS_READ: u64 = 30;

/// The part of history that statistics are computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleWindow {
    /// The beginning.
    pub since: DateTime<Utc>,
    /// The sampling ratio: one instance in this many.
    pub one_in: i64,
}

/// Chooses the window from the partitions of history up to `now`.
fn choose_window(partitions: &[PartitionSize], now: DateTime<Utc>) -> SampleWindow {
    let today = now.date_naive();
    let earliest = today.checked_sub_days(Days::new(MAX_DAYS_READ)).unwrap_or(today);
    let mut past: Vec<PartitionSize> =
        partitions.iter().copied().filter(|partition| (earliest..=today).contains(&partition.day)).collect();
    past.sort_unstable_by_key(|partition| partition.day);
    let (mut first, mut bytes) = (today, 0);
    for (number, partition) in past.into_iter().rev().enumerate() {
        if number >= 2 && bytes + partition.bytes > MAX_BYTES_READ {
            break;
        }
        (first, bytes) = (partition.day, bytes + partition.bytes);
    }
    let since = first.and_time(NaiveTime::MIN).and_utc();
    SampleWindow {
        since,
        one_in: bytes.unsigned_abs().div_ceil(MAX_BYTES_SORTED.unsigned_abs()).max(1).cast_signed(),
    }
}

/// Statistics of the dwell times in a state.
#[derive(Debug, Clone, PartialEq)]
pub struct DwellStatistics {
    /// The state.
    pub state: String,
    /// The number of dwell times.
    pub samples: i64,
    /// The median.
    pub p50: TimeDelta,
    /// The 95th percentile.
    pub p95: TimeDelta,
}

/// The size of a partition of history.
#[derive(Debug, Clone, Copy)]
struct PartitionSize {
    day: NaiveDate,
    bytes: i64,
}

struct DwellStatisticsRow {
    from_state: String,
    samples: i64,
    p50: f64,
    p95: f64,
}

impl From<DwellStatisticsRow> for DwellStatistics {
    fn from(row: DwellStatisticsRow) -> Self {
        let DwellStatisticsRow { from_state, samples, p50, p95 } = row;
        Self { state: from_state, samples, p50: span_of_seconds(p50), p95: span_of_seconds(p95) }
    }
}

/// Computes statistics of the dwell times of `machine`'s instances that began and ended within the window, which it returns.
///
/// There is no index for this: all history of the window is read, so the window is limited in size.
///
/// # Errors
///
/// [`StoreError`] when a statement fails, or takes too long.
pub async fn read_dwell_statistics(
    db: &mut Snapshot,
    machine: &MachineName,
    now: DateTime<Utc>,
) -> Result<(SampleWindow, Vec<DwellStatistics>), StoreError> {
    let partitions = sqlx::query_as!(
        PartitionSize,
        r#"SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS "day!", pg_relation_size(c.oid) AS "bytes!"
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'history'::regclass AND c.relname ~ '^history_[0-9]{8}$'"#,
    )
    .fetch_all(&mut **db)
    .await?;
    let window = choose_window(&partitions, now);
    // On one core, so that the database's other work is not delayed.
    sqlx::query!(
        "SELECT set_config('max_parallel_workers_per_gather', '0', true) || set_config('work_mem', '32MB', true) AS set"
    )
    .fetch_one(&mut **db)
    .await?;
    let rows = sqlx::query_as!(
        DwellStatisticsRow,
        r#"WITH moved AS (
               SELECT h.kind, h.from_state, h.at,
                      lag(h.at) OVER (PARTITION BY h.instance_id ORDER BY h.history_id) AS arrived_at
                 FROM history h JOIN instance i USING (instance_id)
                WHERE i.machine = $1 AND h.at >= $2 AND h.instance_id % $3 = 0
                  AND h.outcome IS NULL AND (h.to_state IS NOT NULL OR h.kind = 'created')),
           dwell AS (
               SELECT from_state, extract(epoch FROM at - arrived_at)::float8 AS seconds
                 FROM moved WHERE arrived_at <= at AND kind <> 'created')
           SELECT from_state, count(*) AS "samples!",
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS "p50!",
                  percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS "p95!"
             FROM dwell GROUP BY from_state"#,
        machine.as_str(),
        window.since,
        window.one_in,
    )
    .fetch_all(&mut **db)
    .await?;
    Ok((window, rows.into_iter().map(DwellStatistics::from).collect()))
}

/// Converts seconds into a span, rounded to milliseconds.
fn span_of_seconds(seconds: f64) -> TimeDelta {
    #[expect(clippy::cast_possible_truncation, reason = "the conversion saturates")]
    TimeDelta::milliseconds((seconds * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_limited_in_size_and_has_at_least_two_days() {
        const MB: i64 = 1024 * 1024;
        let now = "2026-01-31T12:00:00Z".parse().unwrap();
        let window = |sizes: &[(u32, i64)]| {
            let day = |day: u32| NaiveDate::from_ymd_opt(2026, 1, day).unwrap();
            let partition =
                |(number, size): &(u32, i64)| PartitionSize { day: day(*number), bytes: size * MB };
            let partitions: Vec<_> = sizes.iter().map(partition).collect();
            let SampleWindow { since, one_in } = choose_window(&partitions, now);
            format!("{} 1/{one_in}", since.format("%d %H:%M"))
        };
        assert_eq!(window(&[]), "31 00:00 1/1");
        assert_eq!(window(&[(31, 1), (2, 1), (1, 1), (30, 61)]), "01 00:00 1/1");
        assert_eq!(window(&[(29, 1), (30, 1), (31, 63)]), "29 00:00 1/2");
        assert_eq!(window(&[(28, 1), (29, 400), (30, 100), (31, 12)]), "29 00:00 1/8");
        assert_eq!(window(&[(28, 1), (29, 1), (30, 6400), (31, 0)]), "30 00:00 1/100");
        let later = NaiveDate::from_ymd_opt(2026, 2, 1).unwrap();
        assert_eq!(
            choose_window(&[PartitionSize { day: later, bytes: 900 * MB }], now).one_in,
            1,
            "future days are left out"
        );
        let long_ago = NaiveDate::from_ymd_opt(2025, 12, 31).unwrap();
        assert_eq!(
            choose_window(&[PartitionSize { day: long_ago, bytes: MB }], now).since,
            "2026-01-31T00:00:00Z".parse::<DateTime<Utc>>().unwrap()
        );
    }
}

//! Partitions of history, one for each day: created ahead of time, dropped when they are too old.
//!
//! The functions `history_partition` and `history_forget` of the schema choose names and bounds, and limit the time that they
//! wait for locks. Each call is a transaction of its own, so no lock is held for longer than one table takes.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use sqlx::postgres::PgConnection;

use super::{Store, StoreError};

/// Lists the days that have a partition, the earliest first.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list(db: &mut PgConnection) -> Result<Vec<NaiveDate>, StoreError> {
    let days = sqlx::query_scalar!(
        r#"SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS "day!"
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'history'::regclass AND c.relname ~ '^history_[0-9]{8}$'
            ORDER BY 1"#,
    )
    .fetch_all(db)
    .await?;
    Ok(days)
}

/// Creates the missing partitions from day `from` to day `to`, and returns how many were created.
///
/// Several processes may do this at once.
///
/// # Errors
///
/// [`StoreError::Unavailable`] when a lock is not released in time, among others; some partitions may have been created.
pub async fn ensure(store: &Store, from: NaiveDate, to: NaiveDate) -> Result<usize, StoreError> {
    let mut db = store.reader().await?;
    let present = list(&mut db).await?;
    let mut created = 0;
    for day in from.iter_days().take_while(|day| *day <= to).filter(|day| !present.contains(day)) {
        let is_new = sqlx::query_scalar!(r#"SELECT history_partition($1) AS "is_new!""#, day);
        created += usize::from(is_new.fetch_one(&mut *db).await?);
    }
    Ok(created)
}

/// Drops the oldest partition if it is before `day`, and returns its day.
///
/// Several processes may do this at once.
///
/// # Errors
///
/// [`StoreError::Unavailable`] when a lock is not released in time, among others.
pub async fn drop_oldest_before(store: &Store, day: NaiveDate) -> Result<Option<NaiveDate>, StoreError> {
    let mut db = store.reader().await?;
    let oldest = list(&mut db).await?.into_iter().next().filter(|oldest| *oldest < day);
    let mut dropped = None;
    if let Some(oldest) = oldest {
        let is_gone = sqlx::query_scalar!(r#"SELECT history_forget($1) AS "is_gone!""#, oldest);
        dropped = is_gone.fetch_one(&mut *db).await?.then_some(oldest);
    }
    // Rows in the default partition that are as old as the dropped one, or too old if none was dropped.
    let before: DateTime<Utc> = oldest.unwrap_or(day).and_time(NaiveTime::MIN).and_utc();
    sqlx::query!("DELETE FROM history_default WHERE at < $1", before).execute(&mut *db).await?;
    Ok(dropped)
}

/// Reads the database's clock.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn database_time(store: &Store) -> Result<DateTime<Utc>, StoreError> {
    let mut db = store.reader().await?;
    Ok(sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(&mut *db).await?)
}

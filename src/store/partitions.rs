//! The days of history, each a table of its own: made before they come, dropped when they are too old.
//!
//! Names and bounds are written by the functions `history_partition` and `history_forget` of the migration, which bound
//! how long they wait for a lock. Each call is a transaction of its own: no lock is held longer than one table takes.

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

/// Makes the partitions that are missing from day `from` to day `to`, and says how many those were. Others may do the
/// same meanwhile.
///
/// # Errors
///
/// [`StoreError::Unavailable`] when a lock cannot be had soon, among others; some may have been made.
pub async fn ensure(store: &Store, from: NaiveDate, to: NaiveDate) -> Result<usize, StoreError> {
    let mut db = store.reader().await?;
    let present = list(&mut db).await?;
    let mut made = 0;
    for day in from.iter_days().take_while(|day| *day <= to).filter(|day| !present.contains(day)) {
        let is_new = sqlx::query_scalar!(r#"SELECT history_partition($1) AS "is_new!""#, day);
        made += usize::from(is_new.fetch_one(&mut *db).await?);
    }
    Ok(made)
}

/// Drops the earliest day if it is before `day`, and says which it was. Others may do the same meanwhile.
///
/// # Errors
///
/// [`StoreError::Unavailable`] when a lock cannot be had soon, among others.
pub async fn drop_oldest_before(store: &Store, day: NaiveDate) -> Result<Option<NaiveDate>, StoreError> {
    let mut db = store.reader().await?;
    let oldest = list(&mut db).await?.into_iter().next().filter(|oldest| *oldest < day);
    let mut dropped = None;
    if let Some(oldest) = oldest {
        let is_gone = sqlx::query_scalar!(r#"SELECT history_forget($1) AS "is_gone!""#, oldest);
        dropped = is_gone.fetch_one(&mut *db).await?.then_some(oldest);
    }
    // What fell into no partition and is as old as what was dropped, or too old where no day is.
    let begins: DateTime<Utc> = oldest.unwrap_or(day).and_time(NaiveTime::MIN).and_utc();
    sqlx::query!("DELETE FROM history_default WHERE at < $1", begins).execute(&mut *db).await?;
    Ok(dropped)
}

/// What the database's clock shows.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn database_time(store: &Store) -> Result<DateTime<Utc>, StoreError> {
    let mut db = store.reader().await?;
    Ok(sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(&mut *db).await?)
}

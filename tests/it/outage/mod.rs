//! Tests of databases that are unavailable, unresponsive, restored to an earlier state, or reached through a pooler.

mod cluster;
mod missed_reports;
mod pooler;
mod proxy;
mod restored_database;
mod sessions;
mod unresponsive_database;

use lifeguard::store::Store;
use sqlx::AssertSqlSafe;

/// The value of a setting on a connection for reading.
async fn setting(store: &Store, name: &str) -> String {
    let sql = format!("SELECT current_setting('{name}')");
    let mut db = store.reader().await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *db).await.unwrap()
}

//! Databases that go away, fall silent, change their past, or are reached in another way than directly.

mod cluster;
mod life;
mod pooler;
mod proxy;
mod sessions;
mod silence;
mod unheard;

use lifeguard::store::Store;
use sqlx::AssertSqlSafe;

/// What a setting is on a connection for reading.
async fn setting(store: &Store, name: &str) -> String {
    let sql = format!("SELECT current_setting('{name}')");
    let mut db = store.reader().await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *db).await.unwrap()
}

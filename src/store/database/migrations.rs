//! Migrations of the schema.

use sqlx::postgres::PgConnection;

use crate::store::error::StoreError;

/// The migrations, which are applied at startup.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Migrates the schema on a connection of its own, without time limits.
///
/// `Migrator::run` is generic over connections, and its future is not known to be `Send`; `run_direct` is what it calls.
pub(super) async fn migrate(db: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0").execute(&mut *db).await?;
    Ok(MIGRATOR.run_direct(None, db, false).await?)
}

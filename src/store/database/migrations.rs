//! The schema.

use sqlx::postgres::PgConnection;

use crate::store::error::StoreError;

/// The schema, as dated files that are applied at start.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Brings the schema up to date on a connection of its own; a migration takes as long as it takes. The usual call takes
/// anything that has a connection, and the compiler cannot tell of that whether it may change threads; this is what it
/// comes to.
pub(super) async fn migrate(db: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0").execute(&mut *db).await?;
    Ok(MIGRATOR.run_direct(None, db, false).await?)
}

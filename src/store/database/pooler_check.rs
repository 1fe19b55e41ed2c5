//! Whether a pooler stands before the database that shares connections between transactions.

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::connect::connect;
use crate::store::error::{StoreError, UnavailableCause};

/// Makes sure that each connection to `host` keeps its session.
///
/// # Errors
///
/// [`UnavailableCause::SharedSession`] where one does not; [`StoreError`] when a statement fails.
pub(super) async fn verify_sessions(host: &PgConnectOptions) -> Result<(), StoreError> {
    let mut one = connect(host).await?;
    let mut other = connect(host).await?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        // Without a prepared statement: a pooler that shares connections may not know those of others.
        seen.push(backend(&mut one).await?);
        sqlx::raw_sql("BEGIN").execute(&mut other).await?;
        let taken = backend(&mut other).await?;
        seen.push(backend(&mut one).await?);
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await?;
        if seen.contains(&taken) || seen.iter().any(|pid| Some(pid) != seen.first()) {
            return Err(UnavailableCause::SharedSession.into());
        }
    }
    // Nobody needs to hear of it.
    let _ = tokio::join!(one.close(), other.close());
    Ok(())
}

/// Which of the server's processes serves the next statement of `db`.
async fn backend(db: &mut PgConnection) -> Result<i32, StoreError> {
    use sqlx::Row as _;
    let row = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(db).await?;
    Ok(row.try_get(0)?)
}

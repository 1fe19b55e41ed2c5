//! Detects a pooler that shares connections between transactions.

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::connect::connect;
use crate::store::error::{StoreError, UnavailableCause};

/// Verifies that each connection to `host` keeps its session.
///
/// # Errors
///
/// [`UnavailableCause::SharedSession`] when one does not; [`StoreError`] when a statement fails.
pub(super) async fn verify_sessions(host: &PgConnectOptions) -> Result<(), StoreError> {
    let mut first = connect(host).await?;
    let mut second = connect(host).await?;
    let mut first_pids = Vec::new();
    for _ in 0..3 {
        first_pids.push(backend_pid(&mut first).await?);
        sqlx::raw_sql("BEGIN").execute(&mut second).await?;
        let second_pid = backend_pid(&mut second).await?;
        first_pids.push(backend_pid(&mut first).await?);
        sqlx::raw_sql("ROLLBACK").execute(&mut second).await?;
        if first_pids.contains(&second_pid) || first_pids.iter().any(|pid| Some(pid) != first_pids.first()) {
            return Err(UnavailableCause::SharedSession.into());
        }
    }
    // A failure to close them does not matter.
    let _ = tokio::join!(first.close(), second.close());
    Ok(())
}

/// Returns the server process that serves the statements of `db`.
async fn backend_pid(db: &mut PgConnection) -> Result<i32, StoreError> {
    use sqlx::Row as _;
    // Not a checked statement, which is prepared: a pooler that shares connections may lose prepared statements.
    let row = sqlx::raw_sql("SELECT pg_backend_pid() AS pid").fetch_one(db).await?;
    Ok(row.try_get("pid")?)
}

//! Connecting to one host.

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::store::error::{StoreError, UnavailableCause};

/// Connects to `host`.
///
/// The future is boxed: it is large, and all futures that may connect contain it.
pub(super) async fn connect(host: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    match Box::pin(PgConnection::connect_with(host)).await {
        Ok(db) => Ok(db),
        Err(error) => Err(or_host_unknown(host, error).await),
    }
}

/// Distinguishes a host name that cannot be resolved from a host that cannot be reached, which has an OS error number.
async fn or_host_unknown(host: &PgConnectOptions, error: sqlx::Error) -> StoreError {
    let is_of_system = !matches!(&error, sqlx::Error::Io(error) if error.raw_os_error().is_none());
    if is_of_system || host.get_socket().is_some() {
        return error.into();
    }
    match tokio::net::lookup_host((host.get_host(), host.get_port())).await {
        Err(unknown) if unknown.raw_os_error().is_none() => UnavailableCause::HostUnknown(unknown).into(),
        Ok(_) | Err(_) => error.into(),
    }
}

/// Whether the server of `db` accepts writes.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub(super) async fn is_writable(db: &mut PgConnection) -> Result<bool, StoreError> {
    let is_writable = sqlx::query_scalar!(
        r#"SELECT current_setting('transaction_read_only') = 'off' AND NOT pg_is_in_recovery() AS "is_writable!""#,
    )
    .fetch_one(db)
    .await?;
    Ok(is_writable)
}

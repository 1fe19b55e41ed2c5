//! The connections of a server to its database, and their distribution over the pools.

use sqlx::postgres::PgConnection;

use crate::store::error::StoreError;

/// The number of connections that write batches.
pub(crate) const BATCH_CONNECTIONS: u32 = 2;

/// The number of connections of a server, by pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionBudget {
    /// The maximum number of open transactions.
    pub writers: u32,
    /// The maximum number of concurrent readers.
    pub readers: u32,
    /// The maximum number of snapshots. They have a pool of their own: a list holds its snapshot until its
    /// client has read it, which may take a minute, and short reads must not wait for that.
    pub snapshots: u32,
}

impl ConnectionBudget {
    /// The connections that each server always has: two for batches, one each for the lease, the health check, hints and
    /// reads.
    pub const RESERVED: u32 = 6;
    /// The minimum for a server: the reserved connections, and one for each other use.
    pub const MIN_TOTAL: u32 = Self::RESERVED + 2;
    /// The default for a server.
    pub const DEFAULT_TOTAL: u32 = 25;

    /// Distributes `total` connections, at least [`MIN_TOTAL`](Self::MIN_TOTAL).
    #[must_use]
    pub fn of(total: u32) -> Self {
        // One of the readers is among the reserved ones.
        let shared = total.max(Self::MIN_TOTAL) - Self::RESERVED + 1;
        let snapshots = (shared / 5).clamp(1, 4);
        let readers = ((shared - snapshots) * 3 / 8).max(1);
        Self { writers: shared - snapshots - readers, readers, snapshots }
    }

    /// The maximum number of connections.
    #[must_use]
    pub fn total(self) -> u32 {
        self.writers + self.readers + self.snapshots + Self::RESERVED - 1
    }
}

impl Default for ConnectionBudget {
    fn default() -> Self {
        Self::of(Self::DEFAULT_TOTAL)
    }
}

/// Logs a warning if the database may have fewer connections than this server may need.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub(super) async fn warn_of_scarcity(
    db: &mut PgConnection,
    connections: ConnectionBudget,
) -> Result<(), StoreError> {
    let row = sqlx::query!(
        r#"SELECT current_setting('max_connections')::int
                      - current_setting('superuser_reserved_connections')::int
                      - coalesce(current_setting('reserved_connections', true)::int, 0) AS "max!",
                  (SELECT count(*) FROM pg_stat_activity
                    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())::int AS "used!",
                  (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user) AS of_role,
                  (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()) AS of_database"#,
    )
    .fetch_one(db)
    .await?;
    let needed = i32::try_from(connections.total()).unwrap_or(i32::MAX);
    let max = [Some(row.max), row.of_role, row.of_database].into_iter().flatten().min().unwrap_or(row.max);
    if max - row.used < needed {
        tracing::warn!(
            needed,
            max,
            used = row.used,
            reserved = ConnectionBudget::RESERVED,
            "PostgreSQL may not have enough connections for this server: raise max_connections, or lower --database-connections"
        );
    }
    Ok(())
}

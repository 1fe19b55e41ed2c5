//! How many connections a server has to its database, and how they are shared out.

use sqlx::postgres::PgConnection;

use crate::store::error::StoreError;

/// How many write groups at once.
pub(crate) const BATCH_CONNECTIONS: u32 = 2;

/// How many connections a server has to its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionBudget {
    /// How many transactions may be open at once.
    pub writers: u32,
    /// How many may read at once.
    pub readers: u32,
    /// How many snapshots there may be at once: a list lasts as long as its client takes to read it, a minute at most, and
    /// those who only want a word must not wait for that.
    pub snapshots: u32,
}

impl ConnectionBudget {
    /// Those that each server keeps: two that write events, the lease's, the pulse's, the listener's, and one to read by.
    pub const RESERVED: u32 = 6;
    /// The least that a server can work with: those that it keeps, and one for each other use.
    pub const MIN_TOTAL: u32 = Self::RESERVED + 2;
    /// As many as a server has by itself.
    pub const DEFAULT_TOTAL: u32 = 25;

    /// Shares out `total` connections; what is too little is made the [least](Self::MIN_TOTAL).
    #[must_use]
    pub fn of(total: u32) -> Self {
        // One of the readers is among those that are kept.
        let shared = total.max(Self::MIN_TOTAL) - Self::RESERVED + 1;
        let snapshots = (shared / 5).clamp(1, 4);
        let readers = ((shared - snapshots) * 3 / 8).max(1);
        Self { writers: shared - snapshots - readers, readers, snapshots }
    }

    /// How many a server has at most.
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

/// Logs it where the database may not have as many connections as this server may need.
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
                      - coalesce(current_setting('reserved_connections', true)::int, 0) AS "most!",
                  (SELECT count(*) FROM pg_stat_activity
                    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())::int AS "used!",
                  (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user) AS of_role,
                  (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()) AS of_database"#,
    )
    .fetch_one(db)
    .await?;
    let needed = i32::try_from(connections.total()).unwrap_or(i32::MAX);
    let most = [Some(row.most), row.of_role, row.of_database].into_iter().flatten().min().unwrap_or(row.most);
    if most - row.used < needed {
        tracing::warn!(
            needed,
            most,
            used = row.used,
            kept = ConnectionBudget::RESERVED,
            "PostgreSQL may not have enough connections for this server: raise max_connections, or lower --database-connections"
        );
    }
    Ok(())
}

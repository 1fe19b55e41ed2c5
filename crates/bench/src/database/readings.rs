//! Queries of the bench: durability settings, fired deadlines, sizes of tables.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use lifeguard::store::StoreError;
use lifeguard::store::instances::InstanceId;

use super::connection::BenchDatabase;

/// Version and settings of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostgresSettings {
    /// The version.
    pub(crate) version: String,
    /// Settings relevant to the figures: name and value.
    pub(crate) settings: Vec<(String, String)>,
}

impl PostgresSettings {
    /// Settings that durability needs and that are off.
    #[must_use]
    pub(crate) fn missing(&self) -> Vec<&str> {
        let needed = ["fsync", "synchronous_commit", "full_page_writes"];
        let is_on =
            |name: &str| self.settings.iter().any(|(setting, value)| setting == name && value == "on");
        needed.into_iter().filter(|name| !is_on(name)).collect()
    }
}

/// A deadline with the commit time of its transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FiredDeadline {
    /// Due time.
    pub(crate) due_at: DateTime<Utc>,
    /// Commit time of its transition; `None` if it is not committed.
    pub(crate) committed_at: Option<DateTime<Utc>>,
}

/// Sizes of tables, in bytes and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableSizes {
    /// Instances and devices with their indexes.
    pub(crate) boards_bytes: i64,
    /// Instances alone, with their indexes.
    pub(crate) instances_bytes: i64,
    /// History with its indexes.
    pub(crate) history_bytes: i64,
    /// Rows of history.
    pub(crate) history_rows: i64,
    /// Dead rows of all tables, by the server's statistics.
    pub(crate) dead_rows: i64,
}

impl BenchDatabase {
    /// Reads version and durability settings of the server.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the statement fails.
    pub(crate) async fn durability(&mut self) -> Result<PostgresSettings, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT name AS "name!", current_setting(name) AS "value!" FROM pg_settings
                WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_compression', 'shared_buffers',
                               'max_wal_size', 'checkpoint_timeout', 'track_commit_timestamp', 'wal_sync_method')
                ORDER BY name"#,
        )
        .fetch_all(&mut self.connection)
        .await?;
        let version = sqlx::query_scalar!(r#"SELECT version() AS "version!""#);
        let version = version.fetch_one(&mut self.connection).await?;
        let settings = rows.into_iter().map(|row| (row.name, row.value)).collect();
        Ok(PostgresSettings { version, settings })
    }

    /// The process ID of this connection's backend, a child of the postmaster.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the statement fails.
    pub(crate) async fn backend(&mut self) -> Result<i32, StoreError> {
        let pid = sqlx::query_scalar!(r#"SELECT pg_backend_pid() AS "pid!""#);
        Ok(pid.fetch_one(&mut self.connection).await?)
    }

    /// Lists the deadlines armed from `from` to before `to`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the statement fails.
    pub(crate) async fn list_armed(
        &mut self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<(InstanceId, DateTime<Utc>)>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT instance_id, deadline_at AS "due_at!" FROM instance
                WHERE deadline_at >= $1 AND deadline_at < $2"#,
            from,
            to,
        )
        .fetch_all(&mut self.connection)
        .await?;
        Ok(rows.into_iter().map(|row| (InstanceId(row.instance_id), row.due_at)).collect())
    }

    /// Counts the deadlines armed for times before `before`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the statement fails.
    pub(crate) async fn count_armed(&mut self, before: DateTime<Utc>) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM instance WHERE deadline_at < $1"#,
            before,
        );
        Ok(count.fetch_one(&mut self.connection).await?)
    }

    /// Counts waiting actions.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the statement fails.
    pub(crate) async fn count_waiting(&mut self) -> Result<i64, StoreError> {
        let count =
            sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM action WHERE status = 'WAITING'"#,);
        Ok(count.fetch_one(&mut self.connection).await?)
    }

    /// Reads when the first history entry of each of `armed` was committed, by the time of the commit record; the flush to
    /// disk follows it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the statement fails.
    pub(crate) async fn list_fired(
        &mut self,
        armed: &[(InstanceId, DateTime<Utc>)],
    ) -> Result<Vec<FiredDeadline>, StoreError> {
        let ids: Vec<i64> = armed.iter().map(|(id, _)| id.0).collect();
        let rows = sqlx::query!(
            r#"SELECT instance_id AS "instance_id!", min(pg_xact_commit_timestamp(xmin)) AS "committed_at!"
                 FROM history WHERE instance_id = ANY($1) GROUP BY instance_id"#,
            &ids,
        )
        .fetch_all(&mut self.connection)
        .await?;
        let committed: HashMap<i64, DateTime<Utc>> =
            rows.into_iter().map(|row| (row.instance_id, row.committed_at)).collect();
        let fired = armed.iter().map(|(id, due_at)| FiredDeadline {
            due_at: *due_at,
            committed_at: committed.get(&id.0).copied(),
        });
        Ok(fired.collect())
    }

    /// Counts the entries of states committed from `from` to before `to`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the statement fails.
    pub(crate) async fn count_moves(
        &mut self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar!(
            r#"SELECT coalesce(sum(coalesce(cardinality(instances), 1)), 0)::bigint AS "count!" FROM history
                WHERE outcome IS NULL AND pg_xact_commit_timestamp(xmin) >= $1
                  AND pg_xact_commit_timestamp(xmin) < $2"#,
            from,
            to,
        );
        Ok(count.fetch_one(&mut self.connection).await?)
    }

    /// Lists the names of boards whose actions the process `pid` runs.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the statement fails.
    pub(crate) async fn list_running_of(&mut self, pid: u32) -> Result<Vec<String>, StoreError> {
        let names = sqlx::query_scalar!(
            "SELECT i.name FROM action a JOIN worker w USING (worker_id) JOIN instance i USING (instance_id)
              WHERE a.status = 'RUNNING' AND w.name = 'pid ' || $1::bigint ORDER BY i.name",
            i64::from(pid),
        );
        Ok(names.fetch_all(&mut self.connection).await?)
    }

    /// Reads the sizes of the tables.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the statement fails.
    pub(crate) async fn sizes(&mut self) -> Result<TableSizes, StoreError> {
        // If history is partitioned, the parent table itself is empty.
        let sizes = sqlx::query_as!(
            TableSizes,
            r#"SELECT pg_total_relation_size('instance') + pg_total_relation_size('device') AS "boards_bytes!",
                      pg_total_relation_size('instance') AS "instances_bytes!",
                      (SELECT sum(pg_total_relation_size(relid))::bigint
                         FROM (SELECT 'history'::regclass AS relid
                               UNION SELECT relid FROM pg_partition_tree('history')) AS part) AS "history_bytes!",
                      (SELECT count(*) FROM history) AS "history_rows!",
                      (SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables) AS "dead_rows!""#,
        );
        Ok(sizes.fetch_one(&mut self.connection).await?)
    }

    /// Reads the columns of a list of boards and discards them, to measure Postgres alone.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the statement fails.
    pub(crate) async fn read_list(&mut self) -> Result<usize, StoreError> {
        let rows = sqlx::query!(
            "SELECT name, state, entered_at, visit, deadline_at, fqdn, mac, hardware, environment, comments
               FROM instance JOIN device USING (instance_id) WHERE machine = 'board' ORDER BY name",
        );
        Ok(rows.fetch_all(&mut self.connection).await?.len())
    }
}

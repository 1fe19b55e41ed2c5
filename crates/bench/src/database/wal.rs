//! WAL volume by table.
//!
//! Read with `pg_walinspect` (PostgreSQL 15 or newer), which the bench installs in its own database. The statements cannot
//! be checked against a database with only the schema of the product, so they do not use `query!`.

use std::collections::BTreeMap;

use lifeguard::store::StoreError;
use sqlx::Executor;

use super::connection::BenchDatabase;

/// The start of a measurement in the WAL, which is retained from there on.
#[derive(Debug, Clone)]
pub(crate) struct WalStart(String);

/// The WAL written during a measurement.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct WalUse {
    /// Total bytes.
    pub(crate) bytes: i64,
    /// Bytes by cause: a table with its indexes, or `commits`, `checkpoints`, `catalog`, `other`.
    pub(crate) by_relation: BTreeMap<String, i64>,
    /// Bytes of full-page images, written after checkpoints.
    pub(crate) page_images: i64,
}

impl WalUse {
    /// Bytes written for `tables`.
    #[must_use]
    pub(crate) fn of(&self, tables: &[&str]) -> i64 {
        let is_counted = |name: &str| tables.iter().any(|table| name.starts_with(table));
        self.by_relation.iter().filter(|(name, _)| is_counted(name)).map(|(_, bytes)| bytes).sum()
    }
}

impl BenchDatabase {
    /// The current end of the WAL, in bytes since its start.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the statement fails.
    pub(crate) async fn wal_position(&mut self) -> Result<i64, StoreError> {
        let position = sqlx::query_scalar!(
            r#"SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS "position!""#,
        );
        Ok(position.fetch_one(&mut self.connection).await?)
    }

    /// Starts measuring the WAL.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the extension is missing or a statement fails.
    pub(crate) async fn begin_wal(&mut self) -> Result<WalStart, StoreError> {
        self.connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect").await?;
        // The replication slot retains the WAL across checkpoints.
        self.connection.execute("SELECT pg_create_physical_replication_slot('bench', true)").await?;
        let begin = sqlx::query_scalar("SELECT pg_current_wal_flush_lsn()::text");
        Ok(WalStart(begin.fetch_one(&mut self.connection).await?))
    }

    /// Reads the WAL written since `begin`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a statement fails.
    pub(crate) async fn end_wal(&mut self, begin: WalStart) -> Result<WalUse, StoreError> {
        let end: String = sqlx::query_scalar("SELECT pg_current_wal_flush_lsn()::text")
            .fetch_one(&mut self.connection)
            .await?;
        if end == begin.0 {
            self.connection.execute("SELECT pg_drop_replication_slot('bench')").await?;
            return Ok(WalUse::default());
        }
        // Indexes and TOAST tables count for their table.
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            r"WITH record AS (
                  SELECT resource_manager, record_type, record_length::bigint AS bytes, fpi_length::bigint AS images,
                         substring(block_ref FROM 'rel \d+/(\d+)/\d+')::oid AS database,
                         substring(block_ref FROM 'rel \d+/\d+/(\d+)')::oid AS file
                    FROM pg_get_wal_records_info($1::pg_lsn, $2::pg_lsn)
              ), named AS (
                  SELECT c.relfilenode AS file, c.oid < 16384 AS is_catalog,
                         coalesce(of_toast.relname, of_index.relname, c.relname)::text AS name
                    FROM pg_class c
                    LEFT JOIN pg_index i ON i.indexrelid = c.oid
                    LEFT JOIN pg_class of_index ON of_index.oid = i.indrelid
                    LEFT JOIN pg_class of_toast ON of_toast.reltoastrelid = coalesce(i.indrelid, c.oid)
                   WHERE c.relfilenode <> 0
              )
              SELECT CASE WHEN name IS NOT NULL AND NOT is_catalog THEN name
                          WHEN record.file IS NOT NULL THEN 'catalog'
                          WHEN resource_manager = 'Transaction' THEN 'commits'
                          WHEN resource_manager IN ('XLOG', 'Standby') THEN 'checkpoints'
                          ELSE 'other' END AS written_for,
                     sum(bytes)::bigint, sum(images)::bigint
                FROM record LEFT JOIN named
                     ON named.file = record.file
                    AND record.database = (SELECT oid FROM pg_database WHERE datname = current_database())
               GROUP BY 1",
        )
        .bind(&begin.0)
        .bind(&end)
        .fetch_all(&mut self.connection)
        .await?;
        let bytes: i64 = sqlx::query_scalar("SELECT ($2::pg_lsn - $1::pg_lsn)::bigint")
            .bind(&begin.0)
            .bind(&end)
            .fetch_one(&mut self.connection)
            .await?;
        self.connection.execute("SELECT pg_drop_replication_slot('bench')").await?;
        let page_images = rows.iter().map(|(_, _, images)| images).sum();
        let by_relation = rows.into_iter().map(|(name, bytes, _)| (name, bytes)).collect();
        Ok(WalUse { bytes, by_relation, page_images })
    }
}

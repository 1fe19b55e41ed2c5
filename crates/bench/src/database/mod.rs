//! Database operations of the bench, which are not part of the server.
//!
//! They use separate connections without the limits of the product's store: seeding a million boards takes longer than
//! transactions of the engine may.

mod boards;
mod connection;
mod readings;
mod scratch;
mod wal;

pub(crate) use boards::SeededBoards;
pub(crate) use connection::BenchDatabase;
pub(crate) use readings::{FiredDeadline, PostgresSettings, TableSizes};
pub(crate) use scratch::ScratchDatabase;
pub(crate) use wal::WalUse;

/// The equivalent transaction as pgbench scripts: names and texts.
pub(crate) const PGBENCH_SCRIPTS: [(&str, &str); 3] = [
    ("select-update-insert", include_str!("select-update-insert.sql")),
    ("update-insert", include_str!("update-insert.sql")),
    ("one-statement", include_str!("one-statement.sql")),
];

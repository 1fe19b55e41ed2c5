//! What the bench does to its databases and asks of them. No server does such things, and none can: it is not in them.
//!
//! Over a connection of its own without the limits of the product's store: filling a million boards takes longer than any
//! transaction of the engine may.

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

/// The equal transaction as scripts for pgbench: what they are called, and their text.
pub(crate) const PGBENCH_SCRIPTS: [(&str, &str); 3] = [
    ("select-update-insert", include_str!("select-update-insert.sql")),
    ("update-insert", include_str!("update-insert.sql")),
    ("one-statement", include_str!("one-statement.sql")),
];

//! What Postgres remembers: the only SQL there is, one file a table.
//!
//! The store never decides. Writers take a [`Tx`], so that what belongs together is committed together; readers take
//! any connection. Times and names are bound, never made by the database, with one exception: a worker's lease runs on
//! the database's clock, the only one that all processes share.

pub mod actions;
pub mod changes;
mod database;
pub mod definitions;
pub mod devices;
mod error;
pub mod groups;
pub mod history;
pub mod images;
pub mod instances;
pub mod lists;
pub mod partitions;
pub mod rearmed;
mod sparse;
pub mod stays;
pub mod workers;

pub use private_postgres as private;

pub(crate) use self::database::GROUPS;
pub use self::database::{
    BadUrl, ConnectOptions, Connection, Connections, DatabaseUrl, Hints, Life, MIGRATOR, Pooled, Session,
    Snapshot, StartupWait, Store, Tx, hint,
};
pub use self::error::{Cause, StoreError};

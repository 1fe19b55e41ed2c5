//! What Postgres remembers of instances: the SQL of the core, one file a table. A face has its own.
//!
//! The store never decides. Writers take a [`Tx`], so that what belongs together is committed together; readers take
//! any connection. Times and names are bound, never made by the database, with one exception: a worker's lease runs on
//! the database's clock, the only one that all processes share.

pub mod actions;
pub mod batches;
pub mod changes;
pub mod claims;
mod database;
pub mod deadline_changes;
pub mod definitions;
pub mod dwell_times;
mod error;
mod facts;
pub mod history;
mod instance_ids;
pub mod instances;
pub mod links;
pub mod partitions;
pub mod queue;
pub mod resources;
mod sparse;
pub mod workers;

pub use private_postgres as private;

pub(crate) use self::database::BATCH_CONNECTIONS;
pub use self::database::{
    BadDatabaseUrl, ConnectOptions, ConnectionBudget, DatabaseLife, DatabaseSession, DatabaseUrl,
    DbConnection, HintListener, MIGRATOR, PooledConnection, Snapshot, StartupWait, Store, Tx, hint,
};
pub use self::error::{StoreError, UnavailableCause};
pub use self::facts::{InstanceFacts, SharedFacts};

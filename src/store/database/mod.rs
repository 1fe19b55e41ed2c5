//! Connections to the database: how they are opened and shared, the health of the database, and which life it is in.
//!
//! | file | contents |
//! |---|---|
//! | `store` | [`Store`]: connections by purpose |
//! | `open`, `startup`, `migrations` | startup: waits for the database, migrates the schema |
//! | `url`, `connect_options` | where the database is |
//! | `opener`, `connect`, `purpose`, `session`, `pooler_check` | the one way to open a connection |
//! | `pool`, `pool_members`, `pooled` | shared connections |
//! | `connections` | the number of connections |
//! | `transaction` | transactions and snapshots |
//! | `checks`, `health`, `probe` | whether the database is available |
//! | `life` | whether it went back to an earlier state |
//! | `hints` | how processes notify each other of new work |

mod checks;
mod connect;
mod connect_options;
mod connections;
mod health;
mod hints;
mod life;
mod migrations;
mod open;
mod opener;
mod pool;
mod pool_members;
mod pooled;
mod pooler_check;
mod probe;
mod purpose;
mod session;
mod startup;
mod store;
mod timeouts;
mod transaction;
mod url;

pub use self::connect_options::ConnectOptions;
pub(crate) use self::connections::BATCH_CONNECTIONS;
pub use self::connections::ConnectionBudget;
pub use self::hints::{HintListener, hint};
pub use self::life::DatabaseLife;
pub use self::migrations::MIGRATOR;
pub use self::pooled::PooledConnection;
pub use self::session::DatabaseSession;
pub use self::startup::StartupWait;
pub use self::store::Store;
pub use self::transaction::{DbConnection, Snapshot, Tx};
pub use self::url::{BadDatabaseUrl, DatabaseUrl};

//! The connections to the database: how they are made and shared, whether it serves, and which life it is in.
//!
//! | file | what |
//! |---|---|
//! | `store` | [`Store`]: connections by what they are for |
//! | `open`, `startup`, `migrations` | a start: the database is waited for, and its schema brought up to date |
//! | `url`, `connect_options` | where the database is |
//! | `opener`, `reach`, `purpose`, `session`, `pooler_check` | the one way to make a connection |
//! | `pool`, `pool_members`, `pooled` | connections that are shared |
//! | `connections` | how many there are |
//! | `transaction` | transactions and snapshots |
//! | `checks`, `health`, `pulse` | whether the database serves |
//! | `life` | whether it went back to an earlier state |
//! | `hints` | how processes tell each other that there is something to do |

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

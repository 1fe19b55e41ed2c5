//! The private PostgreSQL: the installed server programs, run as a child process on a private data directory.
//!
//! Used without `--database-url`. It is an ordinary PostgreSQL with full durability: same SQL, same migrations. It
//! listens only on a Unix socket in a directory that other users cannot enter.
//!
//! ```text
//! start ── lock ── find programs ── initdb, once ── stop left-over server ── launch ──► ready
//!                                                                           ▲            │ exits, or loses its socket
//!                                                                           └────────────┘ at once, then with back-off
//! stop  ── fast shutdown ── killed after 30 s
//! ```
//!
//! When the process is killed, PostgreSQL keeps running and nothing is lost; the next start stops that left-over server
//! and starts its own. Not for existing databases, and not for more than one process: those use `--database-url`.

mod account;
mod binaries;
mod cluster;
mod error;
mod layout;
mod options;
mod orphans;
mod postgres;
mod postmaster;
mod supervise;

pub use error::PrivatePostgresError;
pub use options::{CommitDurability, PrivatePostgresOptions};
pub use postgres::PrivatePostgres;

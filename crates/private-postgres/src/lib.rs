//! The private Postgres: the installed server programs, run as a child of ours on a data directory of ours.
//!
//! For whoever names no `--database-url`. It is a whole, ordinary Postgres with full durability: the same SQL, the same
//! migrations. It listens on no network, only on a Unix socket in a directory that is closed to other users.
//!
//! ```text
//! start ── lock ── find programs ── initdb, once ── stop an orphan ── launch ──► ready
//!                                                                    ▲            │ dies, or loses its socket
//!                                                                    └────────────┘ at once, then ever later
//! stop  ── fast shutdown ── by force after 30 s
//! ```
//!
//! When our process is killed, Postgres lives on and nothing is lost; the next start stops that orphan and
//! starts a child of its own, so there is one way only in which a server runs. Not for databases of others, and
//! not for more than one process: those share one by `--database-url`.

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

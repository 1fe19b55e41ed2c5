//! Batches of decisions: what was decided at one time about many instances, read and written together.
//!
//! A batch is read without locks and written by one statement. The statement locks the rows in the order of their IDs and
//! applies a decision only if the row is still the one that was read (compare and set). So no lock is held while decisions
//! are made or while the network is slow, and a process that is stopped in between blocks no other.
//!
//! Everything that is written for an instance, other than history, rewrites its row. So the version of the row (`xmin`)
//! covers its actions and its facts too.

mod batch;
mod columns;
mod resources;
mod versioned;
mod write;

pub use self::batch::{ActionChanges, Batch, BatchResult, DecidedUpdate, PassedOnGrant};
pub use self::versioned::{RowVersion, VersionedInstance, find_unlocked, read};
pub use self::write::write;

//! Groups of decisions: everything that was decided at one time about many instances, read and written together.
//!
//! A group is read without locks and written by one statement, which takes the rows' locks itself, in the order of
//! their numbers, and applies what was decided only where the row is still the one that was read: compare and set. So no
//! lock is ever held while we think or while the network is slow, and a process that is stopped in the middle holds up
//! nobody. Whatever is written for an instance, other than history, rewrites its row; so its row's version (`xmin`)
//! speaks for its actions and for what faces know of it too.

mod batch;
mod columns;
mod resources;
mod versioned;
mod write;

pub use self::batch::{Batch, BatchResult, DecidedUpdate, PassedOnGrant};
pub use self::versioned::{RowVersion, VersionedInstance, find_unlocked, read};
pub use self::write::write;

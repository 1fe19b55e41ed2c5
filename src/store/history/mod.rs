//! History of instances: enough to explain each current state and to replay each past one.

mod append;
mod columns;
mod entry;
mod notes;
mod read;
mod row;
mod visits;

pub use self::append::append;
pub(super) use self::columns::HistoryColumns;
pub use self::entry::{HistoryContent, HistoryEntry, NewHistoryEntry};
pub use self::notes::{NoteId, find_last_note, rewrite_note};
pub use self::read::{list, list_all, stream};

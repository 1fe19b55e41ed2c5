//! Which instance is meant.

use crate::machine::MachineName;

/// An instance's number in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub i64);

/// Which instance is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InstanceKey {
    /// The one with this number.
    Id(InstanceId),
    /// The machine's instance of this name.
    Name(MachineName, String),
}

//! IDs and keys of instances.

use crate::machine::MachineName;

/// An instance's ID in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub i64);

/// A key that identifies an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InstanceKey {
    /// By ID.
    Id(InstanceId),
    /// By machine and name.
    Name(MachineName, String),
}

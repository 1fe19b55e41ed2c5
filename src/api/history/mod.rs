//! What happened to an instance.

mod entry;
pub(super) mod of_device;
pub(super) mod page;

//! The history of an instance.

pub(super) mod device_history;
mod entry_view;
pub(super) mod read_history;

//! Machine definitions: which are in force, checking, loading and replaying them.

pub(super) mod check;
mod checking;
pub(super) mod definitions;
pub(super) mod diagram;
pub(super) mod load;
pub(super) mod replay;

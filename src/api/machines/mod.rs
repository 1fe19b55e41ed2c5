//! Machine definitions: list, check, activate, replay.

mod background_check;
pub(super) mod check;
pub(super) mod definitions;
pub(super) mod diagram;
pub(super) mod load;
pub(super) mod replay;

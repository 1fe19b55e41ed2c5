//! How a run of an action ends: as any run at a device, with the troubles that actions tell apart.

pub use device_io::Evidence;

use super::trouble::Trouble;

/// A run that ended without what its action is for.
pub type UnfinishedAction = device_io::RunError<Trouble>;
/// What that means for the action.
pub type ActionEnding = device_io::RunErrorKind<Trouble>;

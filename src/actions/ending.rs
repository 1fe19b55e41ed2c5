//! How a run of an action ends: the errors of a run at a device, with the local faults of actions.

pub use device_io::Evidence;

use super::trouble::Trouble;

/// The error of a run that did not reach the purpose of its action.
pub type UnfinishedAction = device_io::RunError<Trouble>;
/// What the error means for the action.
pub type ActionEnding = device_io::RunErrorKind<Trouble>;

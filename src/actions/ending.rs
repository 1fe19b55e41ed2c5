//! How a run of an action ends: as any run at a device, with the troubles that actions tell apart.

pub use device_io::Evidence;

use super::trouble::Trouble;

/// A run that ended without what its action is for.
pub type Unfinished = device_io::Unfinished<Trouble>;
/// What that means for the action.
pub type Ending = device_io::Ending<Trouble>;

//! Profiles: the behaviour of a simulated fleet. They describe reports of instances, durations and failures of actions,
//! requests of operators, breakdowns, links and limits of resources.
//!
//! A profile is written for given definitions and uses their names. What it leaves out is derived from the definitions
//! (`derive`), so that any definition can be simulated without a profile.

mod behaviour;
mod derive;
mod model;
mod names;
mod read;
mod sent_event;
mod value;

use machine::ActionCatalogue;
use machine::Definition;
use machine::SourceFaults;

pub use model::Profile;
pub(super) use model::{
    ContainerLimits, FleetLayout, InitialLinking, MachineBehaviour, OperatorRequest, OutageSchedule,
};
pub(super) use names::NumberedNames;

impl Profile {
    /// Reads a profile for `definitions`, whose first one is the simulated machine; `actions` are the known actions. An
    /// empty text is a valid profile: everything is derived.
    ///
    /// # Errors
    ///
    /// [`SourceFaults`]: all faults of the text, each with line and column.
    pub fn read(
        text: &str,
        definitions: &[&Definition],
        actions: &dyn ActionCatalogue,
    ) -> Result<Self, SourceFaults> {
        read::profile(text, definitions, actions)
    }
}

#[cfg(test)]
mod tests;

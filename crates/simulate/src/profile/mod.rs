//! How a fleet behaves: what instances report and when, how long actions take and how often they fail, what operators ask
//! for, what breaks, how instances are linked, how much there is of a resource.
//!
//! A profile is written for certain definitions, whose names it uses. What it does not say is derived from them
//! (`derive`), so that any definition can be simulated with no profile at all.

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
pub(super) use model::{FleetLayout, InitialLinking, MachineBehaviour, OperatorRequest, OutageSchedule};
pub(super) use names::NumberedNames;

impl Profile {
    /// Reads a profile for `definitions`, the first of which is the simulated one; their actions are of `actions`. An empty
    /// text is one too: then everything is derived.
    ///
    /// # Errors
    ///
    /// [`Faults`], with everything that is wrong with the text, each with its line and column.
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

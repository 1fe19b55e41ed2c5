//! How a farm behaves: what boards report and when, how long actions take and how often they fail, what operators ask
//! for, what breaks.
//!
//! A profile is written for one definition, whose names it uses. What it does not say is derived from the definition
//! (`derive`), so that any definition can be simulated with no profile at all.

mod derive;
mod model;
mod names;
mod read;
mod value;

use machine::ActionCatalogue;
use machine::Definition;
use machine::Faults;

pub use model::Profile;
pub(super) use model::{OperatorRequest, When};
pub(super) use names::Names;

impl Profile {
    /// Reads a profile for `definition`, whose actions are of `actions`. An empty text is one too: then everything is derived.
    ///
    /// # Errors
    ///
    /// [`Faults`], with everything that is wrong with the text, each with its line and column.
    pub fn read(text: &str, definition: &Definition, actions: &dyn ActionCatalogue) -> Result<Self, Faults> {
        read::profile(text, definition, actions)
    }
}

#[cfg(test)]
mod tests;

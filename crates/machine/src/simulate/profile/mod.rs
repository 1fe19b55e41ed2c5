//! How a farm behaves: what boards report and when, how long actions take and how often they fail, what operators ask
//! for, what breaks.
//!
//! A profile is written for one definition, whose names it uses. What it does not say is derived from the definition
//! (`derive`), so that any definition can be simulated with no profile at all.

mod derive;
mod read;
mod value;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::definition::Definition;
use super::super::fault::Faults;
use super::super::names::{ActionName, EventName, StateName};
use super::super::vocabulary::ActionCatalogue;
use super::action::SimulatedAction;
use super::distribution::Distribution;

/// How a farm behaves, for one definition.
#[derive(Debug, PartialEq)]
pub struct Profile {
    /// Which states count as available, by the state's number in the definition.
    pub(super) available: Vec<bool>,
    pub(super) layout: Layout,
    /// What guards may know of every board, beside its name.
    pub(super) device: Map<String, Value>,
    /// The actions that states invoke; [`Class::actions`] says how each goes.
    pub(super) actions: Vec<ActionName>,
    /// The sound boards first, then the ways of being broken.
    pub(super) classes: Vec<Class>,
    pub(super) requests: Vec<OperatorRequest>,
    pub(super) outages: Vec<Outage>,
}

/// How boards hang together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layout {
    pub(super) boards_per_relay_board: usize,
    pub(super) relay_boards_per_circuit: usize,
    /// How long a relay board needs between two operations.
    pub(super) rests_ms: u64,
    /// The least time between two boards' turns at relay boards of one circuit.
    pub(super) gap_ms: u64,
}

/// Boards that behave alike.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Class {
    /// What is wrong with them; of sound boards nothing is.
    pub(super) name: String,
    /// Which share of boards is so at first.
    pub(super) share: f64,
    /// How long a sound board goes on before it becomes so.
    pub(super) breaks: Option<Distribution>,
    /// What they may report in each state; one of these, or nothing with the chance that is left.
    pub(super) reports: Vec<Vec<Report>>,
    /// How each action goes.
    pub(super) actions: Vec<SimulatedAction>,
}

/// What a board may report after a state was entered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Report {
    pub(super) event: EventName,
    pub(super) args: Map<String, Value>,
    pub(super) after: Distribution,
    pub(super) chance: f64,
}

/// What an operator asks for in some states.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OperatorRequest {
    /// In which states, by number.
    pub(super) states: BTreeSet<usize>,
    pub(super) event: EventName,
    pub(super) args: Map<String, Value>,
    /// How long after the state was entered.
    pub(super) after: Distribution,
    /// How often the board is sound afterwards, from 0 to 1.
    pub(super) mends: f64,
}

/// Power that goes and comes back.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outage {
    pub(super) when: When,
    pub(super) lasts: Distribution,
    /// Which share of circuits it hits.
    pub(super) share: f64,
}

/// When an outage is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum When {
    /// Once, this many milliseconds after the beginning.
    At(u64),
    /// Again and again, this long after the last one's beginning.
    Every(Distribution),
}

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

/// A definition's names with their numbers.
#[derive(Debug)]
pub(super) struct Names<'a> {
    pub(super) definition: &'a Definition,
    pub(super) states: Vec<&'a StateName>,
    pub(super) actions: Vec<ActionName>,
}

impl<'a> Names<'a> {
    pub(super) fn new(definition: &'a Definition) -> Self {
        let invoked = definition.states.values().flat_map(|state| &state.invoke);
        let actions: BTreeSet<ActionName> = invoked.map(|invoke| invoke.action.clone()).collect();
        Self {
            definition,
            states: definition.states.keys().collect(),
            actions: actions.into_iter().collect(),
        }
    }

    /// The states that `pattern`, a name or a beginning followed by `*`, stands for.
    fn matching(&self, pattern: &str) -> Vec<usize> {
        let is_match = |name: &StateName| match pattern.strip_suffix('*') {
            Some(prefix) => name.as_str().starts_with(prefix),
            None => name.as_str() == pattern,
        };
        (0..self.states.len()).filter(|index| is_match(self.states[*index])).collect()
    }
}

#[cfg(test)]
mod tests;

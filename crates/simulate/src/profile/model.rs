//! What is known of a farm's behaviour.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use machine::Distribution;
use machine::SimulatedAction;
use machine::{ActionName, EventName};

/// How a farm behaves, for one definition.
#[derive(Debug, PartialEq)]
pub struct Profile {
    /// Which states count as available, by the state's number in the definition.
    pub(crate) available: Vec<bool>,
    pub(crate) layout: Layout,
    /// What guards may know of every board, beside its name.
    pub(crate) device: Map<String, Value>,
    /// The actions that states invoke; [`Class::actions`] says how each goes.
    pub(crate) actions: Vec<ActionName>,
    /// The sound boards first, then the ways of being broken.
    pub(crate) classes: Vec<Class>,
    pub(crate) requests: Vec<OperatorRequest>,
    pub(crate) outages: Vec<Outage>,
}

/// How boards hang together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Layout {
    pub(crate) boards_per_relay_board: usize,
    pub(crate) relay_boards_per_circuit: usize,
    /// How long a relay board needs between two operations.
    pub(crate) rests_ms: u64,
    /// The least time between two boards' turns at relay boards of one circuit.
    pub(crate) gap_ms: u64,
}

/// Boards that behave alike.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Class {
    /// What is wrong with them; of sound boards nothing is.
    pub(crate) name: String,
    /// Which share of boards is so at first.
    pub(crate) share: f64,
    /// How long a sound board goes on before it becomes so.
    pub(crate) breaks: Option<Distribution>,
    /// What they may report in each state; one of these, or nothing with the chance that is left.
    pub(crate) reports: Vec<Vec<Report>>,
    /// How each action goes.
    pub(crate) actions: Vec<SimulatedAction>,
}

/// What a board may report after a state was entered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    pub(crate) event: EventName,
    pub(crate) args: Map<String, Value>,
    pub(crate) after: Distribution,
    pub(crate) chance: f64,
}

/// What an operator asks for in some states.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OperatorRequest {
    /// In which states, by number.
    pub(crate) states: BTreeSet<usize>,
    pub(crate) event: EventName,
    pub(crate) args: Map<String, Value>,
    /// How long after the state was entered.
    pub(crate) after: Distribution,
    /// How often the board is sound afterwards, from 0 to 1.
    pub(crate) mends: f64,
}

/// Power that goes and comes back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outage {
    pub(crate) when: When,
    pub(crate) lasts: Distribution,
    /// Which share of circuits it hits.
    pub(crate) share: f64,
}

/// When an outage is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum When {
    /// Once, this many milliseconds after the beginning.
    At(u64),
    /// Again and again, this long after the last one's beginning.
    Every(Distribution),
}

//! What is known of a farm's behaviour.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::action::SimulatedAction;
use super::super::distribution::Distribution;
use crate::names::{ActionName, EventName};

/// How a farm behaves, for one definition.
#[derive(Debug, PartialEq)]
pub struct Profile {
    /// Which states count as available, by the state's number in the definition.
    pub(in crate::simulate) available: Vec<bool>,
    pub(in crate::simulate) layout: Layout,
    /// What guards may know of every board, beside its name.
    pub(in crate::simulate) device: Map<String, Value>,
    /// The actions that states invoke; [`Class::actions`] says how each goes.
    pub(in crate::simulate) actions: Vec<ActionName>,
    /// The sound boards first, then the ways of being broken.
    pub(in crate::simulate) classes: Vec<Class>,
    pub(in crate::simulate) requests: Vec<OperatorRequest>,
    pub(in crate::simulate) outages: Vec<Outage>,
}

/// How boards hang together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::simulate) struct Layout {
    pub(in crate::simulate) boards_per_relay_board: usize,
    pub(in crate::simulate) relay_boards_per_circuit: usize,
    /// How long a relay board needs between two operations.
    pub(in crate::simulate) rests_ms: u64,
    /// The least time between two boards' turns at relay boards of one circuit.
    pub(in crate::simulate) gap_ms: u64,
}

/// Boards that behave alike.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::simulate) struct Class {
    /// What is wrong with them; of sound boards nothing is.
    pub(in crate::simulate) name: String,
    /// Which share of boards is so at first.
    pub(in crate::simulate) share: f64,
    /// How long a sound board goes on before it becomes so.
    pub(in crate::simulate) breaks: Option<Distribution>,
    /// What they may report in each state; one of these, or nothing with the chance that is left.
    pub(in crate::simulate) reports: Vec<Vec<Report>>,
    /// How each action goes.
    pub(in crate::simulate) actions: Vec<SimulatedAction>,
}

/// What a board may report after a state was entered.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::simulate) struct Report {
    pub(in crate::simulate) event: EventName,
    pub(in crate::simulate) args: Map<String, Value>,
    pub(in crate::simulate) after: Distribution,
    pub(in crate::simulate) chance: f64,
}

/// What an operator asks for in some states.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::simulate) struct OperatorRequest {
    /// In which states, by number.
    pub(in crate::simulate) states: BTreeSet<usize>,
    pub(in crate::simulate) event: EventName,
    pub(in crate::simulate) args: Map<String, Value>,
    /// How long after the state was entered.
    pub(in crate::simulate) after: Distribution,
    /// How often the board is sound afterwards, from 0 to 1.
    pub(in crate::simulate) mends: f64,
}

/// Power that goes and comes back.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::simulate) struct Outage {
    pub(in crate::simulate) when: When,
    pub(in crate::simulate) lasts: Distribution,
    /// Which share of circuits it hits.
    pub(in crate::simulate) share: f64,
}

/// When an outage is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::simulate) enum When {
    /// Once, this many milliseconds after the beginning.
    At(u64),
    /// Again and again, this long after the last one's beginning.
    Every(Distribution),
}

//! Raised events, and those that are not simulated.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::population::operations;
use crate::simulation::Simulation;
use crate::tally::SimulationTally;
use machine::{EventName, LinkName, MachineName, Operation};

/// An event that instances of one machine raised at instances of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RaisedEventReport {
    /// Machine that raised it.
    pub machine: MachineName,
    /// The event.
    pub event: EventName,
    /// Machine that received it.
    pub to: MachineName,
    /// Number of times.
    pub times: u64,
    /// Number of times it was refused or ignored.
    pub refused: u64,
}

/// Events that are not simulated because the definition of their machine was not given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnsimulatedRaises {
    /// Machine that raises them.
    pub machine: MachineName,
    /// Link that they are raised at.
    pub link: LinkName,
    /// Machine that the link leads to.
    pub to: MachineName,
    /// The events.
    pub events: BTreeSet<EventName>,
}

pub(super) fn raised(simulation: &Simulation<'_>, tally: &SimulationTally) -> Vec<RaisedEventReport> {
    let machine =
        |index: usize| simulation.machines.get(index).map(|machine| machine.definition.machine.clone());
    let raised = tally.raised.iter().filter_map(|((from, event, to), raised)| {
        Some(RaisedEventReport {
            machine: machine(*from)?,
            event: event.clone(),
            to: machine(*to)?,
            times: raised.times,
            refused: raised.times.saturating_sub(raised.taken),
        })
    });
    raised.collect()
}

pub(super) fn unsimulated(simulation: &Simulation<'_>) -> Vec<UnsimulatedRaises> {
    let is_there = |machine: &MachineName| {
        simulation.machines.iter().any(|simulated| simulated.definition.machine == *machine)
    };
    let mut unsimulated = Vec::new();
    for definition in simulation.machines.iter().map(|machine| machine.definition) {
        let mut events: BTreeMap<(&LinkName, &MachineName), BTreeSet<EventName>> = BTreeMap::new();
        for raises in operations(definition).filter_map(Operation::declared_raise) {
            if !is_there(raises.machine) {
                events.entry((raises.to, raises.machine)).or_default().insert(raises.event.clone());
            }
        }
        unsimulated.extend(events.into_iter().map(|((link, to), events)| UnsimulatedRaises {
            machine: definition.machine.clone(),
            link: link.clone(),
            to: to.clone(),
            events,
        }));
    }
    unsimulated
}

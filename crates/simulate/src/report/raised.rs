//! What instances raised, and what they would have raised.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::population::operations;
use crate::simulation::Simulation;
use crate::tally::SimulationTally;
use machine::{EventName, LinkName, MachineName, Operation};

/// An event that instances of one machine raised at those of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RaisedEventReport {
    /// The machine that raised it.
    pub machine: MachineName,
    /// The event.
    pub event: EventName,
    /// The machine whose event it is.
    pub to: MachineName,
    /// How often.
    pub times: u64,
    /// How often the other refused or ignored it.
    pub refused: u64,
}

/// Events that are raised at a machine whose definition was not given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnsimulatedRaises {
    /// The machine that raises them.
    pub machine: MachineName,
    /// The link by which it does.
    pub link: LinkName,
    /// The machine whose events they are.
    pub to: MachineName,
    /// The events.
    pub events: BTreeSet<EventName>,
}

pub(super) fn raised(simulation: &Simulation<'_>, tally: &SimulationTally) -> Vec<RaisedEventReport> {
    let machine = |index: usize| simulation.machines.get(index).map(|one| one.definition.machine.clone());
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
        for raises in operations(definition).filter_map(Operation::raises) {
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

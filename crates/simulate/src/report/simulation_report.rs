//! All that came of a simulation.

use serde::Serialize;

use super::devices::{RelayBoardQueueReport, RelayBoardReport};
use super::lifecycle::MachineReport;
use super::raised::{RaisedEventReport, UnsimulatedRaises, raised, unsimulated};
use super::resources::{ResourceReport, resource_reports};
use crate::outages::PlannedOutage;
use crate::simulated_machine::SimulatedMachine;
use crate::simulation::Simulation;
use crate::tally::SimulationTally;

/// What came of a simulation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SimulationReport {
    /// The machine that was simulated.
    #[serde(flatten)]
    pub first: MachineReport,
    /// How many days passed.
    pub days: u32,
    /// Where chance began.
    pub seed: u64,
    /// How often the kernel decided.
    pub decisions: u64,
    /// How many relay boards there were, where actions are done at them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay_boards: Option<u64>,
    /// How many circuits those hang on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuits: Option<u64>,
    /// What relay boards did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<RelayBoardReport>,
    /// How instances waited for relay boards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<RelayBoardQueueReport>,
    /// How what states hold was used.
    pub resources: Vec<ResourceReport>,
    /// What broke and what went dark.
    pub troubles: BreakdownReport,
    /// What instances raised at others.
    pub raised: Vec<RaisedEventReport>,
    /// The machines that it is linked to, in the order of their definitions.
    pub linked: Vec<MachineReport>,
    /// What would be raised at machines whose definitions were not given.
    pub unsimulated: Vec<UnsimulatedRaises>,
}

/// What broke and what went dark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakdownReport {
    /// How many sound instances got broken.
    pub broken: u64,
    /// How many broken instances were repaired.
    pub mended: u64,
    /// How many outages there were anywhere.
    pub outages: u64,
}

impl SimulationReport {
    pub(crate) fn new(simulation: &Simulation<'_>, tally: &SimulationTally) -> Self {
        let before_end = |outage: &&PlannedOutage| outage.begins_ms <= simulation.end_ms();
        let outages = simulation.outages.iter().filter(before_end).count() as u64;
        let uses_devices = simulation.machines.iter().any(SimulatedMachine::uses_devices);
        let machines = simulation.machines.iter().zip(&tally.machines);
        let mut machines = machines.map(|(machine, tally)| MachineReport::new(simulation, machine, tally));
        let end_ms = simulation.end_ms();
        let relay_boards = uses_devices.then(|| simulation.devices() as u64);
        Self {
            first: machines.next().unwrap_or_default(),
            days: simulation.size.days,
            seed: simulation.size.seed,
            decisions: tally.decisions,
            relay_boards,
            circuits: (uses_devices || outages > 0).then(|| simulation.circuits() as u64),
            power: relay_boards.map(|relay_boards| RelayBoardReport::new(tally, relay_boards, end_ms)),
            queues: relay_boards.map(|_| RelayBoardQueueReport::new(&tally.devices)),
            resources: resource_reports(simulation, tally),
            troubles: BreakdownReport { broken: tally.broken, mended: tally.repaired, outages },
            raised: raised(simulation, tally),
            linked: machines.collect(),
            unsimulated: unsimulated(simulation),
        }
    }
}

//! The report of a simulation.

use serde::Serialize;

use super::devices::{RelayBoardQueueReport, RelayBoardReport};
use super::lifecycle::MachineReport;
use super::raised::{RaisedEventReport, UnsimulatedRaises, raised, unsimulated};
use super::resources::{ResourceReport, resource_reports};
use crate::outages::PlannedOutage;
use crate::simulated_machine::SimulatedMachine;
use crate::simulation::Simulation;
use crate::tally::SimulationTally;

/// The results of a simulation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SimulationReport {
    /// Results of the first machine.
    #[serde(flatten)]
    pub first: MachineReport,
    /// Simulated days.
    pub days: u32,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Number of decisions of the kernel.
    pub decisions: u64,
    /// Number of relay boards, where actions claim them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay_boards: Option<u64>,
    /// Number of circuits that supply them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuits: Option<u64>,
    /// Use of relay boards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<RelayBoardReport>,
    /// Waits for relay boards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<RelayBoardQueueReport>,
    /// Use of resources that states hold.
    pub resources: Vec<ResourceReport>,
    /// Failures of instances and power outages.
    pub breakdowns: BreakdownReport,
    /// Events raised at linked instances.
    pub raised: Vec<RaisedEventReport>,
    /// Results of the linked machines, in the order of their definitions.
    pub linked: Vec<MachineReport>,
    /// Raised events that are not simulated: the definitions of their machines were not given.
    pub unsimulated: Vec<UnsimulatedRaises>,
}

/// Failures of instances and power outages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakdownReport {
    /// Number of instances that broke.
    pub broken: u64,
    /// Number of broken instances that were repaired.
    pub repaired: u64,
    /// Number of power outages.
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
            breakdowns: BreakdownReport { broken: tally.broken, repaired: tally.repaired, outages },
            raised: raised(simulation, tally),
            linked: machines.collect(),
            unsimulated: unsimulated(simulation),
        }
    }
}

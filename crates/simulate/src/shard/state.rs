//! A shard as it stands, and what follows from each thing that happens in it.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::error::{MAX_DECISIONS_AN_HOUR, SimulationError};
use super::super::instance::SimulatedInstance;
use super::super::queue::{QueuedSimulationEvent, SimulationEvent, SimulationQueue};
use super::super::resources::SimulatedResources;
use super::super::simulated_machine::{SimulatedMachine, SimulatedState};
use super::super::simulation::Simulation;
use super::super::tally::{MachineTally, SimulationTally, UnavailabilityCause};
use super::decision::{DecisionInitiator, DecisionTrigger, InstanceDecision, TransactionDecisions};
use machine::{Cause, Decision, Effect, Stimulus};
use machine::{EventName, EventSource, InstanceAddress, MachineName};
use machine::{advance, reads_facts};

/// Instances of one machine in the shard.
#[derive(Debug, Clone, Copy)]
struct InstanceRange {
    /// The number of the first among all of its machine, and in the shard.
    number: usize,
    id: usize,
    length: usize,
}

/// A shard.
pub(crate) struct Shard<'a> {
    pub(super) simulation: &'a Simulation<'a>,
    /// The number of its first device, and of its first circuit, among all.
    pub(super) first_device: usize,
    pub(super) first_circuit: usize,
    pub(super) now_ms: u64,
    pub(super) now: DateTime<Utc>,
    pub(super) queue: SimulationQueue,
    /// Those of the first machine, then those of the others in the order of the definitions.
    pub(super) instances: Vec<SimulatedInstance>,
    ranges: Vec<InstanceRange>,
    /// What is raised by those that are created.
    pub(super) created: Vec<(usize, Decision)>,
    pub(super) resources: SimulatedResources,
    /// How many outages each circuit has at the moment.
    pub(super) outages: Vec<u32>,
    pub(super) tally: SimulationTally,
}

impl<'a> Shard<'a> {
    pub(crate) fn new(simulation: &'a Simulation<'a>, number: usize) -> Self {
        let layout = simulation.profile.layout;
        let circuits = if simulation.is_divisible() { number..number + 1 } else { 0..simulation.circuits() };
        let per_circuit = simulation.instances_per_circuit();
        let first = circuits.start * per_circuit;
        let length = simulation.first_instances().min(circuits.end * per_circuit).saturating_sub(first);
        let devices = length.div_ceil(layout.instances_per_device);
        let states: Vec<usize> = simulation.machines.iter().map(|machine| machine.states.len()).collect();
        let sampling = (simulation.samples(), simulation.sample_interval_ms);
        let limits = simulation.resources.iter().map(|(_, limits)| limits);
        let mut shard = Self {
            simulation,
            first_device: circuits.start * layout.devices_per_circuit,
            first_circuit: circuits.start,
            now_ms: 0,
            now: simulation.started_at,
            queue: SimulationQueue::new(simulation.end_ms()),
            instances: Vec::with_capacity(length),
            ranges: Vec::new(),
            created: Vec::new(),
            resources: SimulatedResources::new(layout, devices, limits),
            outages: vec![0; circuits.len()],
            tally: SimulationTally::new(&states, simulation.resources.len(), sampling),
        };
        for (index, machine) in simulation.machines.iter().enumerate() {
            let (number, length) = if index == 0 { (first, length) } else { (0, machine.instances) };
            shard.ranges.push(InstanceRange { number, id: shard.instances.len(), length });
            for number in number..number + length {
                shard.create(index, number);
            }
        }
        shard
    }

    /// Lives through all of it.
    pub(crate) fn run(mut self) -> Result<SimulationTally, SimulationError> {
        self.begin()?;
        while let Some(entry) = self.queue.next() {
            self.advance_to(entry.at_ms);
            self.handle_event(entry)?;
        }
        Ok(self.end())
    }

    /// Time passes.
    pub(super) fn advance_to(&mut self, at_ms: u64) {
        self.tally.pass(at_ms);
        if at_ms != self.now_ms {
            self.now_ms = at_ms;
            self.now = self.simulation.at(at_ms);
        }
    }

    pub(super) fn end(mut self) -> SimulationTally {
        self.tally.pass(u64::MAX);
        let end_ms = self.simulation.end_ms();
        for it in &self.instances {
            self.tally.machines[it.machine].count_dwell_time(it.state, end_ms - it.since_ms);
        }
        self.resources.tally_usage(end_ms, &mut self.tally);
        self.tally
    }

    pub(super) fn handle_event(
        &mut self,
        QueuedSimulationEvent { target: whose, event: what, .. }: QueuedSimulationEvent,
    ) -> Result<(), SimulationError> {
        match what {
            SimulationEvent::Deadline { visit } if visit == self.instances[whose].instance.visit => {
                let decisions = self.decide(whose, Cause::Deadline { visit })?;
                self.settle(whose, decisions, DecisionTrigger::DEADLINE)
            }
            SimulationEvent::ActionEnds { run } => self.action_ends(whose, run),
            SimulationEvent::Report { turn, report }
                if turn == self.instances[whose].plan_versions.reports =>
            {
                self.report(whose, report)
            }
            SimulationEvent::Request { turn, request }
                if turn == self.instances[whose].plan_versions.requests =>
            {
                self.request(whose, turn, request)
            }
            SimulationEvent::Breaks { turn, class } if turn == self.instances[whose].plan_versions.breaks => {
                self.break_down(whose, class);
                Ok(())
            }
            SimulationEvent::Deadline { .. }
            | SimulationEvent::Report { .. }
            | SimulationEvent::Request { .. }
            | SimulationEvent::Breaks { .. } => Ok(()),
            SimulationEvent::Dispatch => self.dispatch(whose),
            SimulationEvent::OutageBegins => {
                self.outage_begins(whose);
                Ok(())
            }
            SimulationEvent::OutageEnds => {
                self.outage_ends(whose);
                Ok(())
            }
        }
    }

    /// Asks the kernel what follows, there and at all instances at which something is raised because of it; they are then as
    /// was decided.
    pub(super) fn decide(
        &mut self,
        id: usize,
        cause: Cause,
    ) -> Result<TransactionDecisions, SimulationError> {
        let (own, cause, effects) = self.decide_one(id, cause)?;
        let is_raising = effects.iter().any(|effect| matches!(effect, Effect::Raise(_)));
        let raised = if is_raising { self.follow(id, cause, &own.outcome, &effects)? } else { Vec::new() };
        Ok(TransactionDecisions { own, raised })
    }

    pub(super) fn decide_one(
        &mut self,
        id: usize,
        cause: Cause,
    ) -> Result<(InstanceDecision, Cause, Vec<Effect>), SimulationError> {
        self.tally.decisions += 1;
        let it = &mut self.instances[id];
        if !it.rate.count(self.now_ms, MAX_DECISIONS_AN_HOUR) {
            return Err(self.event_storm(id));
        }
        let SimulatedMachine { definition, reads_facts: reads, .. } = &self.simulation.machines[it.machine];
        let SimulatedInstance { instance, machine, .. } = &self.instances[id];
        // Only a few events' guards look at facts.
        let is_read = *reads
            || (matches!(cause, Cause::Event { .. }) && reads_facts(definition, &instance.state, &cause));
        let facts = self.facts(*machine, &instance.name, is_read);
        let stimulus = Stimulus { facts, ..Stimulus::new(cause) };
        let instance = &mut self.instances[id].instance;
        let before = (instance.visit, instance.deadline_at);
        let (outcome, mut effects) = advance(definition, instance, &stimulus, self.now);
        let is_armed_anew = before != (instance.visit, instance.deadline_at);
        let is_kept = effects.iter().any(|effect| matches!(effect, Effect::Keep { .. }));
        let holds = effects.iter_mut().find_map(|effect| match effect {
            Effect::Hold { units } => Some(std::mem::take(units)),
            Effect::Cancel { .. } | Effect::Invoke { .. } | Effect::Keep { .. } | Effect::Raise(_) => None,
        });
        Ok((InstanceDecision { outcome, is_kept, is_armed_anew, holds }, stimulus.cause, effects))
    }

    pub(super) fn event_storm(&self, id: usize) -> SimulationError {
        SimulationError::EventStorm {
            instance: self.address(id),
            state: self.instances[id].instance.state.clone(),
            hours: self.now_ms / 3_600_000,
        }
    }

    /// What guards may know of an instance.
    pub(super) fn facts(&self, machine: usize, name: &str, is_read: bool) -> Map<String, Value> {
        if !is_read {
            return Map::new();
        }
        let mut facts = self.simulation.machines[machine].behaviour.facts.clone();
        facts.insert("name".to_owned(), Value::from(name));
        facts
    }

    /// Sends an event, and does what follows.
    pub(super) fn send(
        &mut self,
        id: usize,
        name: &EventName,
        source: EventSource,
        args: &Map<String, Value>,
    ) -> Result<(), SimulationError> {
        let trigger = DecisionTrigger { reason: self.reason(id, name), by: DecisionInitiator::of(&source) };
        let cause = Cause::Event { name: name.clone(), source, args: args.clone(), visit: None };
        let decisions = self.decide(id, cause)?;
        self.settle(id, decisions, trigger)
    }

    pub(super) fn reason(&self, id: usize, event: &EventName) -> UnavailabilityCause {
        let events = &self.simulation.machines[self.instances[id].machine].events;
        UnavailabilityCause::Event(events.get(event).copied().unwrap_or(usize::MAX))
    }

    /// The state that an instance is in.
    pub(super) fn stage(&self, id: usize) -> &'a SimulatedState<'a> {
        let it = &self.instances[id];
        &self.simulation.machines[it.machine].states[it.state]
    }

    pub(super) fn machine_tally(&mut self, id: usize) -> &mut MachineTally {
        &mut self.tally.machines[self.instances[id].machine]
    }

    pub(super) fn address(&self, id: usize) -> InstanceAddress {
        let instance = &self.instances[id].instance;
        InstanceAddress { machine: instance.machine.clone(), name: instance.name.clone() }
    }

    /// The number of a machine.
    pub(super) fn machine(&self, name: &MachineName) -> Option<usize> {
        self.simulation.machines.iter().position(|machine| machine.definition.machine == *name)
    }

    /// The instance with this number among those of its machine.
    pub(super) fn id(&self, machine: usize, number: usize) -> Option<usize> {
        let range = self.ranges.get(machine)?;
        let index = number.checked_sub(range.number)?;
        (index < range.length).then_some(range.id + index)
    }
}

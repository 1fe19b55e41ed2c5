//! The state of a shard, and its handling of events.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::error::{MAX_DECISIONS_PER_HOUR, SimulationError};
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

/// The instances of one machine in the shard.
#[derive(Debug, Clone, Copy)]
struct InstanceRange {
    /// Number of the first instance in its machine, and its index in the shard.
    number: usize,
    id: usize,
    length: usize,
}

/// A shard.
pub(crate) struct Shard<'a> {
    pub(super) simulation: &'a Simulation<'a>,
    /// Index of its first device and of its first circuit among all.
    pub(super) first_device: usize,
    pub(super) first_circuit: usize,
    pub(super) now_ms: u64,
    pub(super) now: DateTime<Utc>,
    pub(super) queue: SimulationQueue,
    /// Instances of the first machine, then those of the others in the order of the definitions.
    pub(super) instances: Vec<SimulatedInstance>,
    ranges: Vec<InstanceRange>,
    /// Creations that raise events, with the index of the instance.
    pub(super) created: Vec<(usize, Decision)>,
    pub(super) resources: SimulatedResources,
    /// Number of current outages of each circuit.
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

    /// Runs the simulation to its end.
    pub(crate) fn run(mut self) -> Result<SimulationTally, SimulationError> {
        self.begin()?;
        while let Some(entry) = self.queue.next() {
            self.advance_to(entry.at_ms);
            self.handle_event(entry)?;
        }
        Ok(self.end())
    }

    /// Advances virtual time.
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
        for simulated in &self.instances {
            self.tally.machines[simulated.machine]
                .count_dwell_time(simulated.state, end_ms - simulated.since_ms);
        }
        self.resources.tally_usage(end_ms, &mut self.tally);
        self.tally
    }

    pub(super) fn handle_event(
        &mut self,
        QueuedSimulationEvent { target, event, .. }: QueuedSimulationEvent,
    ) -> Result<(), SimulationError> {
        match event {
            SimulationEvent::Deadline { visit } if visit == self.instances[target].instance.visit => {
                let decisions = self.decide(target, Cause::Deadline { visit })?;
                self.settle(target, decisions, DecisionTrigger::DEADLINE)
            }
            SimulationEvent::ActionEnds { run } => self.action_ends(target, run),
            SimulationEvent::Report { version, report }
                if version == self.instances[target].plan_versions.reports =>
            {
                self.report(target, report)
            }
            SimulationEvent::Request { version, request }
                if version == self.instances[target].plan_versions.requests =>
            {
                self.request(target, version, request)
            }
            SimulationEvent::Breaks { version, class }
                if version == self.instances[target].plan_versions.breaks =>
            {
                self.break_down(target, class);
                Ok(())
            }
            SimulationEvent::Deadline { .. }
            | SimulationEvent::Report { .. }
            | SimulationEvent::Request { .. }
            | SimulationEvent::Breaks { .. } => Ok(()),
            SimulationEvent::Dispatch => self.dispatch(target),
            SimulationEvent::OutageBegins => {
                self.outage_begins(target);
                Ok(())
            }
            SimulationEvent::OutageEnds => {
                self.outage_ends(target);
                Ok(())
            }
        }
    }

    /// Decides on a cause, and on all events raised because of it; the instances are updated.
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
        let simulated = &mut self.instances[id];
        if !simulated.rate.count(self.now_ms, MAX_DECISIONS_PER_HOUR) {
            return Err(self.event_storm(id));
        }
        let SimulatedMachine { definition, reads_facts: reads, .. } =
            &self.simulation.machines[simulated.machine];
        let SimulatedInstance { instance, machine, .. } = &self.instances[id];
        // Only the guards of few events read facts.
        let is_read = *reads
            || (matches!(cause, Cause::Event { .. }) && reads_facts(definition, &instance.state, &cause));
        let facts = self.facts(*machine, &instance.name, is_read);
        let stimulus = Stimulus { facts, ..Stimulus::new(cause) };
        let instance = &mut self.instances[id].instance;
        let before = (instance.visit, instance.deadline_at);
        let (outcome, mut effects) = advance(definition, instance, &stimulus, self.now);
        let is_rearmed = before != (instance.visit, instance.deadline_at);
        let is_kept = effects.iter().any(|effect| matches!(effect, Effect::Keep { .. }));
        let holds = effects.iter_mut().find_map(|effect| match effect {
            Effect::Hold { units } => Some(std::mem::take(units)),
            Effect::Cancel { .. } | Effect::Invoke { .. } | Effect::Keep { .. } | Effect::Raise(_) => None,
        });
        Ok((InstanceDecision { outcome, is_kept, is_rearmed, holds }, stimulus.cause, effects))
    }

    pub(super) fn event_storm(&self, id: usize) -> SimulationError {
        SimulationError::EventStorm {
            instance: self.address(id),
            state: self.instances[id].instance.state.clone(),
            hours: self.now_ms / 3_600_000,
        }
    }

    /// The facts of an instance; empty unless they are read.
    pub(super) fn facts(&self, machine: usize, name: &str, is_read: bool) -> Map<String, Value> {
        if !is_read {
            return Map::new();
        }
        let mut facts = self.simulation.machines[machine].behaviour.facts.clone();
        facts.insert("name".to_owned(), Value::from(name));
        facts
    }

    /// Sends an event and applies the decisions.
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

    /// The state of an instance.
    pub(super) fn state_of(&self, id: usize) -> &'a SimulatedState<'a> {
        let simulated = &self.instances[id];
        &self.simulation.machines[simulated.machine].states[simulated.state]
    }

    pub(super) fn machine_tally(&mut self, id: usize) -> &mut MachineTally {
        &mut self.tally.machines[self.instances[id].machine]
    }

    pub(super) fn address(&self, id: usize) -> InstanceAddress {
        let instance = &self.instances[id].instance;
        InstanceAddress { machine: instance.machine.clone(), name: instance.name.clone() }
    }

    /// Index of a machine.
    pub(super) fn machine(&self, name: &MachineName) -> Option<usize> {
        self.simulation.machines.iter().position(|machine| machine.definition.machine == *name)
    }

    /// Index of the instance `number` of a machine.
    pub(super) fn id(&self, machine: usize, number: usize) -> Option<usize> {
        let range = self.ranges.get(machine)?;
        let index = number.checked_sub(range.number)?;
        (index < range.length).then_some(range.id + index)
    }
}

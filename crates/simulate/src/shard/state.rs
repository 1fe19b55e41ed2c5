//! A shard as it stands, and what follows from each thing that happens in it.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::error::{MAX_DECISIONS_AN_HOUR, SimulateError};
use super::super::instance::SimulatedInstance;
use super::super::queue::{Entry, Occurrence, Queue};
use super::super::resources::Resources;
use super::super::simulated::{SimulatedMachine, Stage};
use super::super::simulation::Simulation;
use super::super::tally::{MachineTally, Reason, Tally};
use super::decision::{By, Decided, Decisions, Trigger};
use machine::{Address, EventName, MachineName, Source};
use machine::{Cause, Decision, Effect, Stimulus};
use machine::{advance, reads_facts};

/// Instances of one machine in the shard.
#[derive(Debug, Clone, Copy)]
struct Range {
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
    pub(super) queue: Queue,
    /// Those of the first machine, then those of the others in the order of the definitions.
    pub(super) instances: Vec<SimulatedInstance>,
    ranges: Vec<Range>,
    /// What is raised by those that are created.
    pub(super) created: Vec<(usize, Decision)>,
    pub(super) resources: Resources,
    /// How many outages each circuit has at the moment.
    pub(super) outages: Vec<u32>,
    pub(super) tally: Tally,
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
        let sampling = (simulation.samples(), simulation.every_ms);
        let limits = simulation.resources.iter().map(|(_, limits)| limits);
        let mut shard = Self {
            simulation,
            first_device: circuits.start * layout.devices_per_circuit,
            first_circuit: circuits.start,
            now_ms: 0,
            now: simulation.beginning,
            queue: Queue::new(simulation.end_ms()),
            instances: Vec::with_capacity(length),
            ranges: Vec::new(),
            created: Vec::new(),
            resources: Resources::new(layout, devices, limits),
            outages: vec![0; circuits.len()],
            tally: Tally::new(&states, simulation.resources.len(), sampling),
        };
        for (index, machine) in simulation.machines.iter().enumerate() {
            let (number, length) = if index == 0 { (first, length) } else { (0, machine.instances) };
            shard.ranges.push(Range { number, id: shard.instances.len(), length });
            for number in number..number + length {
                shard.create(index, number);
            }
        }
        shard
    }

    /// Lives through all of it.
    pub(crate) fn run(mut self) -> Result<Tally, SimulateError> {
        self.begin()?;
        while let Some(entry) = self.queue.next() {
            self.pass_to(entry.at_ms);
            self.happen(entry)?;
        }
        Ok(self.end())
    }

    /// Time passes.
    pub(super) fn pass_to(&mut self, at_ms: u64) {
        self.tally.pass(at_ms);
        if at_ms != self.now_ms {
            self.now_ms = at_ms;
            self.now = self.simulation.at(at_ms);
        }
    }

    pub(super) fn end(mut self) -> Tally {
        self.tally.pass(u64::MAX);
        let end_ms = self.simulation.end_ms();
        for it in &self.instances {
            self.tally.machines[it.machine].stay(it.state, end_ms - it.since_ms);
        }
        self.resources.tally_usage(end_ms, &mut self.tally);
        self.tally
    }

    pub(super) fn happen(&mut self, Entry { whose, what, .. }: Entry) -> Result<(), SimulateError> {
        match what {
            Occurrence::Deadline { visit } if visit == self.instances[whose].instance.visit => {
                let decisions = self.decide(whose, Cause::Deadline { visit })?;
                self.settle(whose, decisions, Trigger::DEADLINE)
            }
            Occurrence::ActionEnds { run } => self.action_ends(whose, run),
            Occurrence::Report { turn, report } if turn == self.instances[whose].turns.reports => {
                self.report(whose, report)
            }
            Occurrence::Request { turn, request } if turn == self.instances[whose].turns.requests => {
                self.request(whose, turn, request)
            }
            Occurrence::Breaks { turn, class } if turn == self.instances[whose].turns.breaks => {
                self.break_down(whose, class);
                Ok(())
            }
            Occurrence::Deadline { .. }
            | Occurrence::Report { .. }
            | Occurrence::Request { .. }
            | Occurrence::Breaks { .. } => Ok(()),
            Occurrence::Dispatch => self.dispatch(whose),
            Occurrence::OutageBegins => {
                self.outage_begins(whose);
                Ok(())
            }
            Occurrence::OutageEnds => {
                self.outage_ends(whose);
                Ok(())
            }
        }
    }

    /// Asks the kernel what follows, there and at all instances at which something is raised because of it; they are then as
    /// was decided.
    pub(super) fn decide(&mut self, id: usize, cause: Cause) -> Result<Decisions, SimulateError> {
        let (own, cause, effects) = self.decide_one(id, cause)?;
        let is_raising = effects.iter().any(|effect| matches!(effect, Effect::Raise(_)));
        let raised = if is_raising { self.follow(id, cause, &own.outcome, &effects)? } else { Vec::new() };
        Ok(Decisions { own, raised })
    }

    pub(super) fn decide_one(
        &mut self,
        id: usize,
        cause: Cause,
    ) -> Result<(Decided, Cause, Vec<Effect>), SimulateError> {
        self.tally.decisions += 1;
        let it = &mut self.instances[id];
        if !it.rate.count(self.now_ms, MAX_DECISIONS_AN_HOUR) {
            return Err(self.storm(id));
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
        Ok((Decided { outcome, is_kept, is_armed_anew, holds }, stimulus.cause, effects))
    }

    pub(super) fn storm(&self, id: usize) -> SimulateError {
        SimulateError::Storm {
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
        source: Source,
        args: &Map<String, Value>,
    ) -> Result<(), SimulateError> {
        let trigger = Trigger { reason: self.reason(id, name), by: By::of(&source) };
        let cause = Cause::Event { name: name.clone(), source, args: args.clone(), visit: None };
        let decisions = self.decide(id, cause)?;
        self.settle(id, decisions, trigger)
    }

    pub(super) fn reason(&self, id: usize, event: &EventName) -> Reason {
        let events = &self.simulation.machines[self.instances[id].machine].events;
        Reason::Event(events.get(event).copied().unwrap_or(usize::MAX))
    }

    /// The state that an instance is in.
    pub(super) fn stage(&self, id: usize) -> &'a Stage<'a> {
        let it = &self.instances[id];
        &self.simulation.machines[it.machine].states[it.state]
    }

    pub(super) fn machine_tally(&mut self, id: usize) -> &mut MachineTally {
        &mut self.tally.machines[self.instances[id].machine]
    }

    pub(super) fn address(&self, id: usize) -> Address {
        let instance = &self.instances[id].instance;
        Address { machine: instance.machine.clone(), name: instance.name.clone() }
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

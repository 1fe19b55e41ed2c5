//! Creation of instances, and the start of their behaviour.

use std::cmp::Reverse;

use super::super::error::SimulationError;
use super::super::instance::{ActionProgress, DecisionRate, PlanVersions, SimulatedInstance};
use super::super::tally::UnavailabilityCause;
use super::decision::{DecisionTrigger, InstanceDecision, TransactionDecisions};
use super::state::Shard;
use machine::{Cause, Decision, Effect, Outcome, create_linked};
use machine::{InstanceAddress, Link, Links, MachineName, StateKind};
use random::Random;
use serde_json::Map;

impl Shard<'_> {
    /// Creates the instance `number` of the machine `index`.
    pub(super) fn create(&mut self, index: usize, number: usize) {
        let simulation = self.simulation;
        let machine = &simulation.machines[index];
        let layout = simulation.profile.layout;
        let name = instance_name(&machine.definition.machine, number);
        // The first instance that shares it.
        let first = number * machine.population.shared_by;
        let links = machine.population.links.iter().map(|(link, to)| {
            let other = &simulation.machines[*to];
            let other_number = first / other.population.shared_by;
            let name = instance_name(&other.definition.machine, other_number);
            let to = InstanceAddress { machine: other.definition.machine.clone(), name };
            (link.clone(), Link { to, visit: None })
        });
        let links: Links = links.collect();
        // As the engine does it: facts are written after the decision.
        let decision = create_linked(machine.definition, &name, links, Map::new(), self.now);
        let instance = decision.instance.clone();
        if decision.effects.iter().any(|effect| matches!(effect, Effect::Raise(_))) {
            self.created.push((self.instances.len(), decision));
        }
        let device = first / layout.instances_per_device - self.first_device;
        self.instances.push(SimulatedInstance {
            machine: index,
            device,
            circuit: device / layout.devices_per_circuit,
            state: machine.state(&instance.state),
            instance,
            since_ms: 0,
            random: Random::stream(simulation.size.seed, (index as u64) << 48 | number as u64),
            class: 0,
            progress: ActionProgress::Done,
            holds_device: false,
            holds: Vec::new(),
            abandoned: None,
            run: 0,
            plan_versions: PlanVersions::default(),
            unavailable_since: None,
            rate: DecisionRate::default(),
        });
    }

    /// Starts the behaviour of an instance.
    fn start_behaviour(&mut self, id: usize) {
        let state = self.instances[id].state;
        self.tally.decisions += 1;
        self.machine_tally(id).begin(state);
        self.draw_class(id);
        if self.state_of(id).kind == StateKind::Working {
            self.instances[id].unavailable_since = Some((UnavailabilityCause::Created, 0));
        }
        self.arm(id);
        self.plan_report(id);
        self.plan_request(id);
    }

    pub(super) fn begin(&mut self) -> Result<(), SimulationError> {
        self.plan_outages();
        for id in 0..self.instances.len() {
            self.start_behaviour(id);
        }
        // Link targets are created before the instances that link to them.
        let mut created = std::mem::take(&mut self.created);
        created.sort_by_key(|(id, _)| (Reverse(self.instances[*id].machine), *id));
        for (id, created) in created {
            let Decision { outcome, effects, instance } = created;
            let cause = Cause::Created { links: instance.links };
            let raised = self.follow(id, cause, &outcome, &effects)?;
            // The entry of its initial state is counted already.
            let own =
                InstanceDecision { outcome: Outcome::Stayed, is_kept: false, is_rearmed: false, holds: None };
            self.settle(id, TransactionDecisions { own, raised }, DecisionTrigger::CREATED)?;
        }
        for id in 0..self.instances.len() {
            if self.instances[id].progress == ActionProgress::Done {
                self.begin_actions(id)?;
            }
        }
        Ok(())
    }
}

/// The name of the instance `number` of a machine.
fn instance_name(machine: &MachineName, number: usize) -> String {
    format!("{machine}-{}", number + 1)
}

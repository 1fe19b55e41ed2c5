//! Runs the actions of a visit one after the other, each with the resources that it needs.
//!
//! As on servers, the first action waits for everything that a later one needs at the device, and claims the units that the
//! state holds. Held units are released when a state is entered that does not hold them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::error::SimulationError;
use super::super::instance::ActionProgress;
use super::super::queue::SimulationEvent;
use super::super::simulated_machine::SimulatedStateAction;
use super::decision::{DecisionInitiator, DecisionTrigger, TransactionDecisions};
use super::state::Shard;
use machine::Cause;
use machine::EventSource;
use machine::ResourceName;
use machine::{ActionSite, SimulatedAction};
use schedule::ResourceUnits;

impl<'a> Shard<'a> {
    /// Begins the actions of the instance's state.
    pub(super) fn begin_actions(&mut self, id: usize) -> Result<(), SimulationError> {
        if self.state_of(id).steps.is_empty() {
            return Ok(());
        }
        let simulated = &mut self.instances[id];
        if simulated.abandoned.is_some() {
            simulated.progress = ActionProgress::Blocked;
            return Ok(());
        }
        self.begin_at(id, 0)
    }

    /// Begins the actions from `step` on, once their resources are granted.
    fn begin_at(&mut self, id: usize, step: usize) -> Result<(), SimulationError> {
        let mut units = self.needs(id, step);
        // Unlimited resources are taken together with the limited ones.
        units.retain(|units| self.resources.is_limited(units.resource));
        let holds = !self.instances[id].holds.is_empty();
        let Some(dispatcher) = self.resources.wait(id, &units, holds, self.now_ms) else {
            self.take_unlimited(id, step);
            return self.begin_action(id, step);
        };
        self.instances[id].progress = ActionProgress::Waits { step };
        self.grant(dispatcher)?;
        self.resources.tally_queues(&units, self.first_device, self.now_ms, &mut self.tally);
        Ok(())
    }

    /// Units that the instance needs for an action and does not hold yet.
    fn needs(&self, id: usize, step: usize) -> Vec<ResourceUnits<usize>> {
        let simulated = &self.instances[id];
        let state = self.state_of(id);
        let mut needs = Vec::new();
        if step == 0 {
            let holds = state.holds.iter();
            let holds = holds
                .map(|(number, units)| ResourceUnits::of(self.resources.held(*number), *units))
                .filter(|units| simulated.holds.iter().all(|held| held.resource != units.resource));
            needs.extend(holds);
        }
        if state.steps[step].holds_device {
            needs.extend(self.resources.at_device(simulated.device, simulated.circuit));
        }
        needs
    }

    fn take_unlimited(&mut self, id: usize, step: usize) {
        for units in self.needs(id, step) {
            if !self.resources.is_limited(units.resource) && self.resources.is_held(units.resource) {
                self.resources.take(&units, self.now_ms);
                self.instances[id].holds.push(units);
            }
        }
    }

    /// Begins an action, and with it the state's time limit.
    fn begin_action(&mut self, id: usize, step: usize) -> Result<(), SimulationError> {
        // Started before the decision, so that the decision does not begin it again.
        self.start(id, step);
        let visit = self.instances[id].instance.visit;
        let decisions = self.decide(id, Cause::Began { visit })?;
        self.settle(id, decisions, DecisionTrigger::DEADLINE)
    }

    /// Starts a run of an action and draws its outcome.
    fn start(&mut self, id: usize, step: usize) {
        let SimulatedStateAction { limit_ms, .. } = self.step(id, step);
        let SimulatedAction { at, takes, failure_rate, fails_after, fails_after_outage } =
            self.simulated(id, step);
        let simulated = &mut self.instances[id];
        let is_cut_off = self.outages[simulated.circuit] > 0;
        let (takes_ms, succeeds) = if is_cut_off && *at != ActionSite::Server {
            (fails_after_outage.draw(&mut simulated.random), false)
        } else if simulated.random.next_fraction() < *failure_rate {
            (fails_after.draw(&mut simulated.random), false)
        } else {
            (takes.draw(&mut simulated.random), true)
        };
        // An action that exceeds its limit is stopped and fails.
        let (takes_ms, succeeds) = match limit_ms {
            Some(limit_ms) if limit_ms < takes_ms => (limit_ms, false),
            Some(_) | None => (takes_ms, succeeds),
        };
        simulated.run = simulated.run.wrapping_add(1);
        simulated.progress = ActionProgress::Runs { step, succeeds };
        let run = simulated.run;
        if *at == ActionSite::Resource {
            self.tally.operations += 1;
            self.resources.operate(simulated.device);
        }
        self.queue.enter(self.now_ms.saturating_add(takes_ms), id, SimulationEvent::ActionEnds { run });
    }

    /// Restarts a running action at the instance itself, whose behaviour has changed.
    pub(super) fn restart_at_instance(&mut self, id: usize) {
        if let ActionProgress::Runs { step, .. } = self.instances[id].progress
            && self.simulated(id, step).at == ActionSite::Instance
        {
            self.start(id, step);
        }
    }

    /// Lets a running action fail that needs the power.
    pub(super) fn fail_for_outage(&mut self, id: usize) {
        let ActionProgress::Runs { step, .. } = self.instances[id].progress else { return };
        let SimulatedAction { at, fails_after_outage, .. } = self.simulated(id, step);
        if *at == ActionSite::Server {
            return;
        }
        let simulated = &mut self.instances[id];
        let at_ms = self.now_ms.saturating_add(fails_after_outage.draw(&mut simulated.random));
        simulated.run = simulated.run.wrapping_add(1);
        simulated.progress = ActionProgress::Runs { step, succeeds: false };
        self.queue.enter(at_ms, id, SimulationEvent::ActionEnds { run: simulated.run });
    }

    /// Handles the end of an action.
    pub(super) fn action_ends(&mut self, id: usize, run: u32) -> Result<(), SimulationError> {
        if self.instances[id].abandoned == Some(run) {
            return self.abandoned_ends(id);
        }
        let ActionProgress::Runs { step, succeeds } = self.instances[id].progress else { return Ok(()) };
        if self.instances[id].run != run {
            return Ok(());
        }
        if !succeeds && self.simulated(id, step).at == ActionSite::Resource {
            self.tally.operations_failed += 1;
        }
        self.instances[id].progress = ActionProgress::Done;
        let visit = self.instances[id].instance.visit;
        let Some((decisions, trigger)) = self.decide_end(id, step, succeeds)? else { return Ok(()) };
        // After a failure the following actions are dropped.
        let continues = succeeds && self.instances[id].instance.visit == visit && {
            step + 1 < self.state_of(id).steps.len()
        };
        let keeps_device = continues && self.step(id, step + 1).holds_device;
        if self.instances[id].holds_device && !keeps_device {
            self.release_device(id);
        }
        self.settle(id, decisions, trigger)?;
        if keeps_device && self.instances[id].holds_device {
            self.start(id, step + 1);
        } else if continues {
            self.begin_at(id, step + 1)?;
        }
        Ok(())
    }

    /// Decides on the end of an action.
    fn decide_end(
        &mut self,
        id: usize,
        step: usize,
        succeeds: bool,
    ) -> Result<Option<(TransactionDecisions, DecisionTrigger)>, SimulationError> {
        let machine = &self.simulation.machines[self.instances[id].machine];
        let outcomes = &machine.actions[self.step(id, step).action];
        let name = if succeeds { &outcomes.ok } else { &outcomes.failed };
        let Some(name) = name else { return Ok(None) };
        let mut args = Map::new();
        if !succeeds {
            args.insert("reason".to_owned(), Value::from("simulated"));
        }
        let visit = Some(self.instances[id].instance.visit);
        let cause = Cause::Event { name: name.clone(), source: EventSource::Action, args, visit };
        let trigger =
            DecisionTrigger { reason: self.reason(id, name), by: DecisionInitiator::ActionOrDeadline };
        Ok(Some((self.decide(id, cause)?, trigger)))
    }

    /// Handles the end of an abandoned action.
    fn abandoned_ends(&mut self, id: usize) -> Result<(), SimulationError> {
        self.instances[id].abandoned = None;
        self.release_device(id);
        self.grant_released()?;
        if self.instances[id].progress == ActionProgress::Blocked {
            return self.begin_at(id, 0);
        }
        Ok(())
    }

    /// Cancels the actions of the state that is left.
    pub(super) fn cancel_actions(&mut self, id: usize) {
        match std::mem::replace(&mut self.instances[id].progress, ActionProgress::Done) {
            ActionProgress::Done | ActionProgress::Blocked => {}
            ActionProgress::Waits { .. } => self.resources.stop_waiting(id, self.instances[id].device),
            ActionProgress::Runs { step, .. } => {
                let action = self.simulated(id, step);
                let simulated = &mut self.instances[id];
                if action.at == ActionSite::Resource {
                    // An action that has begun at a device is completed, and holds the device until then.
                    simulated.abandoned = Some(simulated.run);
                    return;
                }
                simulated.run = simulated.run.wrapping_add(1);
                if simulated.holds_device {
                    self.release_device(id);
                }
            }
        }
    }

    /// Releases held units that the entered state does not hold.
    pub(super) fn release_holds(&mut self, id: usize, entered: &BTreeMap<ResourceName, u32>) {
        let held: Vec<usize> = entered.keys().filter_map(|name| self.number(name)).collect();
        let holds = std::mem::take(&mut self.instances[id].holds);
        for units in holds {
            if held.contains(&units.resource) {
                self.instances[id].holds.push(units);
            } else {
                self.resources.release(&units, self.now_ms);
            }
        }
    }

    fn number(&self, name: &ResourceName) -> Option<usize> {
        let number = self.simulation.resources.binary_search_by(|(other, _)| (*other).cmp(name)).ok()?;
        Some(self.resources.held(number))
    }

    fn release_device(&mut self, id: usize) {
        let simulated = &mut self.instances[id];
        simulated.holds_device = false;
        let (device, circuit) = (simulated.device, simulated.circuit);
        for units in self.resources.at_device(device, circuit) {
            self.resources.release(&units, self.now_ms);
        }
    }

    /// Grants released units.
    pub(super) fn grant_released(&mut self) -> Result<(), SimulationError> {
        while let Some(dispatcher) = self.resources.next_released() {
            self.grant(dispatcher)?;
        }
        Ok(())
    }

    /// Handles the end of a gap or a settle time.
    pub(super) fn dispatch(&mut self, dispatcher: usize) -> Result<(), SimulationError> {
        self.grant(dispatcher)?;
        self.grant_released()
    }

    /// Grants requests of a dispatcher and begins their actions.
    fn grant(&mut self, dispatcher: usize) -> Result<(), SimulationError> {
        let granted = self.resources.grant(dispatcher, self.now_ms);
        if let Some(at_ms) = granted.next_grant_ms {
            self.queue.enter(at_ms, dispatcher, SimulationEvent::Dispatch);
        }
        for grant in granted.grants {
            let id = grant.key.instance;
            self.resources.tally_wait(&grant.units, self.now_ms - grant.key.since_ms, &mut self.tally);
            let simulated = &mut self.instances[id];
            // Cancelled requests have been removed from the queue.
            let ActionProgress::Waits { step } = simulated.progress else { continue };
            for units in grant.units {
                if self.resources.is_held(units.resource) {
                    simulated.holds.push(units);
                } else {
                    simulated.holds_device = true;
                }
            }
            self.take_unlimited(id, step);
            self.begin_action(id, step)?;
        }
        Ok(())
    }

    fn step(&self, id: usize, step: usize) -> SimulatedStateAction {
        self.state_of(id).steps[step]
    }

    fn simulated(&self, id: usize, step: usize) -> &'a SimulatedAction {
        let simulated = &self.instances[id];
        let action = self.step(id, step).action;
        &self.simulation.machines[simulated.machine].behaviour.classes[simulated.class].actions[action]
    }
}

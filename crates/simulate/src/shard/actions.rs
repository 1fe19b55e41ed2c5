//! A visit's actions, one after the other, each with the resources that it needs.
//!
//! As at servers: the first waits for all that a later one needs at the device, and takes what the state holds; that is kept
//! until a state is entered that does not hold it.

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
    /// Starts what the instance's state invokes.
    pub(super) fn begin_actions(&mut self, id: usize) -> Result<(), SimulationError> {
        if self.stage(id).steps.is_empty() {
            return Ok(());
        }
        let it = &mut self.instances[id];
        if it.abandoned.is_some() {
            it.progress = ActionProgress::Blocked;
            return Ok(());
        }
        self.begin_at(id, 0)
    }

    /// Begins the state's actions from `step` on, once what they need is free.
    fn begin_at(&mut self, id: usize, step: usize) -> Result<(), SimulationError> {
        let mut units = self.needs(id, step);
        // What has no limit is there at once; it is taken together with what has.
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

    /// What the instance needs for an action and does not hold yet.
    fn needs(&self, id: usize, step: usize) -> Vec<ResourceUnits<usize>> {
        let it = &self.instances[id];
        let stage = self.stage(id);
        let mut needs = Vec::new();
        if step == 0 {
            let holds = stage.holds.iter();
            let holds = holds
                .map(|(number, units)| ResourceUnits {
                    resource: self.resources.held(*number),
                    units: *units,
                })
                .filter(|units| it.holds.iter().all(|held| held.resource != units.resource));
            needs.extend(holds);
        }
        if stage.steps[step].holds_device {
            needs.extend(self.resources.at_device(it.device, it.circuit));
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

    /// An action begins, and with it the state's time.
    fn begin_action(&mut self, id: usize, step: usize) -> Result<(), SimulationError> {
        // Before the kernel is asked: what begins is no longer to be begun.
        self.start(id, step);
        let visit = self.instances[id].instance.visit;
        let decisions = self.decide(id, Cause::Began { visit })?;
        self.settle(id, decisions, DecisionTrigger::DEADLINE)
    }

    /// Lets an action run, which will end in one way or the other.
    fn start(&mut self, id: usize, step: usize) {
        let SimulatedStateAction { limit_ms, .. } = self.step(id, step);
        let SimulatedAction { at, takes, failure_rate: fails, fails_after, fails_after_outage: dark_after } =
            self.simulated(id, step);
        let it = &mut self.instances[id];
        let is_cut_off = self.outages[it.circuit] > 0;
        let (takes_ms, succeeds) = if is_cut_off && *at != ActionSite::Server {
            (dark_after.draw(&mut it.random), false)
        } else if it.random.next_fraction() < *fails {
            (fails_after.draw(&mut it.random), false)
        } else {
            (takes.draw(&mut it.random), true)
        };
        // What takes longer than it may is stopped, and has failed.
        let (takes_ms, succeeds) = match limit_ms {
            Some(limit_ms) if limit_ms < takes_ms => (limit_ms, false),
            Some(_) | None => (takes_ms, succeeds),
        };
        it.run = it.run.wrapping_add(1);
        it.progress = ActionProgress::Runs { step, succeeds };
        let run = it.run;
        if *at == ActionSite::Resource {
            self.tally.operations += 1;
            self.resources.operate(it.device);
        }
        self.queue.enter(self.now_ms.saturating_add(takes_ms), id, SimulationEvent::ActionEnds { run });
    }

    /// Starts a running action over, if it is done at what the instance stands for, which is no longer what it was.
    pub(super) fn start_over_at_instance(&mut self, id: usize) {
        if let ActionProgress::Runs { step, .. } = self.instances[id].progress
            && self.simulated(id, step).at == ActionSite::Instance
        {
            self.start(id, step);
        }
    }

    /// Fails a running action that needs the power which has gone.
    pub(super) fn fail_for_outage(&mut self, id: usize) {
        let ActionProgress::Runs { step, .. } = self.instances[id].progress else { return };
        let SimulatedAction { at, fails_after_outage: dark_after, .. } = self.simulated(id, step);
        if *at == ActionSite::Server {
            return;
        }
        let it = &mut self.instances[id];
        let at_ms = self.now_ms.saturating_add(dark_after.draw(&mut it.random));
        it.run = it.run.wrapping_add(1);
        it.progress = ActionProgress::Runs { step, succeeds: false };
        self.queue.enter(at_ms, id, SimulationEvent::ActionEnds { run: it.run });
    }

    /// An action has ended.
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
        // What was to follow makes no sense without this one.
        let goes_on = succeeds && self.instances[id].instance.visit == visit && {
            step + 1 < self.stage(id).steps.len()
        };
        let keeps_device = goes_on && self.step(id, step + 1).holds_device;
        if self.instances[id].holds_device && !keeps_device {
            self.release_device(id);
        }
        self.settle(id, decisions, trigger)?;
        if keeps_device && self.instances[id].holds_device {
            self.start(id, step + 1);
        } else if goes_on {
            self.begin_at(id, step + 1)?;
        }
        Ok(())
    }

    /// Asks the kernel what follows from an action's end.
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

    /// An action that nobody wanted any more has come to its end.
    fn abandoned_ends(&mut self, id: usize) -> Result<(), SimulationError> {
        self.instances[id].abandoned = None;
        self.release_device(id);
        self.grant_released()?;
        if self.instances[id].progress == ActionProgress::Blocked {
            return self.begin_at(id, 0);
        }
        Ok(())
    }

    /// Cancels what the state that is left still had to do.
    pub(super) fn cancel_actions(&mut self, id: usize) {
        match std::mem::replace(&mut self.instances[id].progress, ActionProgress::Done) {
            ActionProgress::Done | ActionProgress::Blocked => {}
            ActionProgress::Waits { .. } => self.resources.stop_waiting(id, self.instances[id].device),
            ActionProgress::Runs { step, .. } => {
                let action = self.simulated(id, step);
                let it = &mut self.instances[id];
                if action.at == ActionSite::Resource {
                    // What began at a device is brought to its end, and holds the device meanwhile.
                    it.abandoned = Some(it.run);
                    return;
                }
                it.run = it.run.wrapping_add(1);
                if it.holds_device {
                    self.release_device(id);
                }
            }
        }
    }

    /// Gives back what states held and the one that is entered does not.
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
        let it = &mut self.instances[id];
        it.holds_device = false;
        let (device, circuit) = (it.device, it.circuit);
        for units in self.resources.at_device(device, circuit) {
            self.resources.release(&units, self.now_ms);
        }
    }

    /// Grants on what was given back.
    pub(super) fn grant_released(&mut self) -> Result<(), SimulationError> {
        while let Some(dispatcher) = self.resources.next_released() {
            self.grant(dispatcher)?;
        }
        Ok(())
    }

    /// A gap or a settle time of a resource is over.
    pub(super) fn dispatch(&mut self, dispatcher: usize) -> Result<(), SimulationError> {
        self.grant(dispatcher)?;
        self.grant_released()
    }

    /// Lets those begin to whom a dispatcher grants what they wait for.
    fn grant(&mut self, dispatcher: usize) -> Result<(), SimulationError> {
        let granted = self.resources.grant(dispatcher, self.now_ms);
        if let Some(at_ms) = granted.next_grant_ms {
            self.queue.enter(at_ms, dispatcher, SimulationEvent::Dispatch);
        }
        for grant in granted.grants {
            let id = grant.key.instance;
            self.resources.tally_wait(&grant.units, self.now_ms - grant.key.since_ms, &mut self.tally);
            let it = &mut self.instances[id];
            // Whoever does not want it any more has given it up.
            let ActionProgress::Waits { step } = it.progress else { continue };
            for units in grant.units {
                if self.resources.is_held(units.resource) {
                    it.holds.push(units);
                } else {
                    it.holds_device = true;
                }
            }
            self.take_unlimited(id, step);
            self.begin_action(id, step)?;
        }
        Ok(())
    }

    fn step(&self, id: usize, step: usize) -> SimulatedStateAction {
        self.stage(id).steps[step]
    }

    fn simulated(&self, id: usize, step: usize) -> &'a SimulatedAction {
        let it = &self.instances[id];
        let action = self.step(id, step).action;
        &self.simulation.machines[it.machine].behaviour.classes[it.class].actions[action]
    }
}

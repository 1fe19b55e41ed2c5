//! What follows from what was decided.

use super::super::error::SimulationError;
use super::super::instance::ActionProgress;
use super::super::queue::SimulationEvent;
use super::super::tally::UnavailabilityCause;
use super::decision::{DecisionInitiator, DecisionTrigger, InstanceDecision, TransactionDecisions};
use super::state::Shard;
use machine::{Outcome, StateKind};

impl Shard<'_> {
    /// Does what follows from decisions. They are one transaction: what was going on ends everywhere before anything begins.
    pub(super) fn settle(
        &mut self,
        id: usize,
        decisions: TransactionDecisions,
        trigger: DecisionTrigger,
    ) -> Result<(), SimulationError> {
        let TransactionDecisions { own, raised } = decisions;
        let own_begins = self.record(id, &own, trigger);
        let mut others: Vec<usize> = Vec::new();
        for step in &raised {
            if self.record(step.id, &step.decided, step.trigger) && !others.contains(&step.id) {
                others.push(step.id);
            }
        }
        self.grant_released()?;
        if own_begins && !others.contains(&id) {
            self.begin_actions(id)?;
        }
        for other in others {
            self.begin_actions(other)?;
        }
        Ok(())
    }

    /// Counts what was decided and ends what it ends. Says whether actions are to be begun.
    fn record(&mut self, id: usize, decided: &InstanceDecision, trigger: DecisionTrigger) -> bool {
        let InstanceDecision { outcome, is_kept, is_armed_anew, holds } = decided;
        if *is_armed_anew {
            self.arm(id);
        }
        match outcome {
            Outcome::Ignored(_) => {
                // An action whose end a state does not list is no surprise: the deadline decides.
                if let (
                    UnavailabilityCause::Event(event),
                    DecisionInitiator::Report | DecisionInitiator::Operator,
                ) = (trigger.reason, trigger.by)
                {
                    *self.machine_tally(id).ignored.entry(event).or_insert(0) += 1;
                }
                false
            }
            Outcome::Stayed => false,
            // Nothing changes at all for what is at rest and stays there.
            Outcome::Moved { .. } if *is_kept => self.instances[id].progress == ActionProgress::Done,
            Outcome::Moved { from, to } => {
                self.cancel_actions(id);
                if let Some(holds) = holds {
                    self.release_holds(id, holds);
                }
                let it = &self.instances[id];
                let to = if from == to { it.state } else { self.simulation.machines[it.machine].state(to) };
                self.enter(id, to, trigger);
                true
            }
        }
    }

    /// Lets the present visit's deadline pass in its time.
    pub(super) fn arm(&mut self, id: usize) {
        let instance = &self.instances[id].instance;
        if let Some(deadline_at) = instance.deadline_at {
            let at_ms = self.simulation.since_beginning(deadline_at).max(self.now_ms);
            self.queue.enter(at_ms, id, SimulationEvent::Deadline { visit: instance.visit });
        }
    }

    /// A state is entered, the one that the instance was in perhaps.
    fn enter(&mut self, id: usize, to: usize, trigger: DecisionTrigger) {
        let it = &mut self.instances[id];
        let tally = &mut self.tally.machines[it.machine];
        tally.entered(to);
        let is_same = it.state == to && trigger.reason == UnavailabilityCause::Deadline;
        if it.state != to {
            tally.count_move(it.state, to, self.now_ms - it.since_ms);
            it.since_ms = self.now_ms;
        }
        self.record_time_to_available(id, to, trigger);
        self.instances[id].state = to;
        // Nobody but us notices that our patience with the same state has ended, unless we do something about it.
        if !is_same || !self.stage(id).steps.is_empty() {
            self.plan_report(id);
        }
        if !is_same {
            self.plan_request(id);
        }
    }

    /// Keeps record of the way to an available state, before the instance is in state `to`.
    fn record_time_to_available(&mut self, id: usize, to: usize, trigger: DecisionTrigger) {
        let it = &mut self.instances[id];
        let states = &self.simulation.machines[it.machine].states;
        let tally = &mut self.tally.machines[it.machine];
        let (from, to_stage) = (&states[it.state], &states[to]);
        let is_asked = match trigger.by {
            DecisionInitiator::Operator => true,
            DecisionInitiator::Instance => {
                it.unavailable_since.is_none() && to_stage.kind == StateKind::Working
            }
            DecisionInitiator::Report | DecisionInitiator::ActionOrDeadline => false,
        };
        if is_asked || (from.is_available && !to_stage.is_available) {
            it.unavailable_since = Some((trigger.reason, self.now_ms));
        }
        if to_stage.is_available {
            if let Some((reason, since_ms)) = it.unavailable_since.take() {
                tally.ready.entry(reason).or_default().add(self.now_ms - since_ms);
            }
        } else if to_stage.kind == StateKind::Failed {
            if let Some((_, since_ms)) = it.unavailable_since.take() {
                tally.failed[to].add(self.now_ms - since_ms);
            }
        } else if to_stage.kind != StateKind::Working {
            it.unavailable_since = None;
        }
    }
}

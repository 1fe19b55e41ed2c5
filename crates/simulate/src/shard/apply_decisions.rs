//! Application of decisions.

use super::super::error::SimulationError;
use super::super::instance::ActionProgress;
use super::super::queue::SimulationEvent;
use super::super::tally::UnavailabilityCause;
use super::decision::{DecisionInitiator, DecisionTrigger, InstanceDecision, TransactionDecisions};
use super::state::Shard;
use machine::{Outcome, StateKind};

impl Shard<'_> {
    /// Applies the decisions of one transaction: old actions end everywhere before new ones begin.
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
            if self.record(step.id, &step.decision, step.trigger) && !others.contains(&step.id) {
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

    /// Counts a decision and ends what it ends; returns whether actions are to begin.
    fn record(&mut self, id: usize, decision: &InstanceDecision, trigger: DecisionTrigger) -> bool {
        let InstanceDecision { outcome, is_kept, is_rearmed, holds } = decision;
        if *is_rearmed {
            self.arm(id);
        }
        match outcome {
            Outcome::Ignored(_) => {
                // Ends of actions that a state does not handle are expected, so they are not counted.
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
            // Re-entry of a resting state: its actions continue, or begin again if they have ended.
            Outcome::Moved { .. } if *is_kept => self.instances[id].progress == ActionProgress::Done,
            Outcome::Moved { from, to } => {
                self.cancel_actions(id);
                if let Some(holds) = holds {
                    self.release_holds(id, holds);
                }
                let simulated = &self.instances[id];
                let to = if from == to {
                    simulated.state
                } else {
                    self.simulation.machines[simulated.machine].state(to)
                };
                self.enter(id, to, trigger);
                true
            }
        }
    }

    /// Queues the deadline of the current visit.
    pub(super) fn arm(&mut self, id: usize) {
        let instance = &self.instances[id].instance;
        if let Some(deadline_at) = instance.deadline_at {
            let at_ms = self.simulation.since_start(deadline_at).max(self.now_ms);
            self.queue.enter(at_ms, id, SimulationEvent::Deadline { visit: instance.visit });
        }
    }

    /// Enters a state, possibly again.
    fn enter(&mut self, id: usize, to: usize, trigger: DecisionTrigger) {
        let simulated = &mut self.instances[id];
        let tally = &mut self.tally.machines[simulated.machine];
        tally.entered(to);
        let is_same = simulated.state == to && trigger.reason == UnavailabilityCause::Deadline;
        if simulated.state != to {
            tally.count_move(simulated.state, to, self.now_ms - simulated.since_ms);
            simulated.since_ms = self.now_ms;
        }
        self.record_time_to_available(id, to, trigger);
        self.instances[id].state = to;
        // A re-entry by deadline is not visible to the instance, unless the state invokes actions.
        if !is_same || !self.state_of(id).steps.is_empty() {
            self.plan_report(id);
        }
        if !is_same {
            self.plan_request(id);
        }
    }

    /// Counts the time to an available or failed state; called before the instance is in state `to`.
    fn record_time_to_available(&mut self, id: usize, to: usize, trigger: DecisionTrigger) {
        let simulated = &mut self.instances[id];
        let states = &self.simulation.machines[simulated.machine].states;
        let tally = &mut self.tally.machines[simulated.machine];
        let (from, to_state) = (&states[simulated.state], &states[to]);
        let is_requested = match trigger.by {
            DecisionInitiator::Operator => true,
            DecisionInitiator::Instance => {
                simulated.unavailable_since.is_none() && to_state.kind == StateKind::Working
            }
            DecisionInitiator::Report | DecisionInitiator::ActionOrDeadline => false,
        };
        if is_requested || (from.is_available && !to_state.is_available) {
            simulated.unavailable_since = Some((trigger.reason, self.now_ms));
        }
        if to_state.is_available {
            if let Some((reason, since_ms)) = simulated.unavailable_since.take() {
                tally.times_to_available.entry(reason).or_default().add(self.now_ms - since_ms);
            }
        } else if to_state.kind == StateKind::Failed {
            if let Some((_, since_ms)) = simulated.unavailable_since.take() {
                tally.failed[to].add(self.now_ms - since_ms);
            }
        } else if to_state.kind != StateKind::Working {
            simulated.unavailable_since = None;
        }
    }
}

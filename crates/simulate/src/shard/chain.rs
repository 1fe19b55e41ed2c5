//! Events raised at other instances, decided at the same time by the kernel's rules.

use super::super::error::SimulationError;
use super::decision::{DecisionInitiator, DecisionTrigger, RaisedDecision};
use super::state::Shard;
use machine::{Cause, Effect, EventName, InstanceAddress, Outcome, RaiseChain};

impl Shard<'_> {
    /// Decides all events raised by a decision of `id`, in order.
    pub(super) fn follow(
        &mut self,
        id: usize,
        cause: Cause,
        outcome: &Outcome,
        effects: &[Effect],
    ) -> Result<Vec<RaisedDecision>, SimulationError> {
        let mut chain = RaiseChain::new(self.address(id), cause);
        self.count_raised(id, effects);
        chain.decided(outcome, effects);
        let mut steps = Vec::new();
        while let Some((to, cause)) = chain.next().map(|(to, cause)| (to.clone(), cause.clone())) {
            let Some(id) = self.find(&to) else {
                chain.undecided(&format!("there is no {to}"));
                continue;
            };
            let Cause::Event { name, source, .. } = &cause else { break };
            let sender = chain.raised_by().and_then(|sender| self.machine(&sender.machine));
            let trigger =
                DecisionTrigger { reason: self.reason(id, name), by: DecisionInitiator::of(source) };
            let key = sender.map(|sender| (sender, name.clone(), self.instances[id].machine));
            let (decision, _, effects) = self.decide_one(id, cause)?;
            if let Some(key) = key.filter(|_| !matches!(decision.outcome, Outcome::Ignored(_))) {
                self.tally.raised.entry(key).or_default().taken += 1;
            }
            self.count_raised(id, &effects);
            chain.decided(&decision.outcome, &effects);
            steps.push(RaisedDecision { id, decision, trigger });
        }
        Ok(steps)
    }

    fn count_raised(&mut self, id: usize, effects: &[Effect]) {
        for effect in effects {
            let Effect::Raise(raised) = effect else { continue };
            if let Some(to) = self.machine(&raised.to.machine) {
                let key: (usize, EventName, usize) = (self.instances[id].machine, raised.event.clone(), to);
                self.tally.raised.entry(key).or_default().times += 1;
            }
        }
    }

    /// The instance with an address, if there is one.
    fn find(&self, address: &InstanceAddress) -> Option<usize> {
        let machine = self.machine(&address.machine)?;
        let number: usize = address.name.rsplit_once('-')?.1.parse().ok()?;
        let id = self.id(machine, number.checked_sub(1)?)?;
        (self.instances[id].instance.name == address.name).then_some(id)
    }
}

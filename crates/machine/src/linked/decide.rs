//! A chain of decisions where all instances are at hand.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::raise_chain::RaiseChain;
use crate::decide::{decide, reads_facts};
use crate::definition::Definition;
use crate::instance::Instance;
use crate::link::InstanceAddress;
use crate::names::MachineName;
use crate::prediction::ModelAnswers;
use crate::stimulus::{Decision, Stimulus};

/// Instances that may be linked, with their definitions and facts.
pub trait LinkedInstances {
    /// The definition of a machine.
    fn definition(&self, machine: &MachineName) -> Option<&Definition>;

    /// An instance as it stands.
    fn find(&self, address: &InstanceAddress) -> Option<&Instance>;

    /// What is known of an instance from outside.
    fn facts(&self, address: &InstanceAddress) -> Map<String, Value>;

    /// Keeps what an instance is after a decision.
    fn put(&mut self, address: &InstanceAddress, instance: Instance);
}

/// One decision of a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkedDecision {
    /// Who decided.
    pub address: InstanceAddress,
    /// On what.
    pub stimulus: Stimulus,
    /// What follows.
    pub decision: Decision,
}

/// Decides on something that happens to the instance at `address`, and on all that is raised by it, in order: what each
/// instance becomes is put back before the next one decides.
///
/// The first decision is that of `stimulus`; there is none where there is no such instance.
pub fn decide_linked(
    instances: &mut dyn LinkedInstances,
    address: InstanceAddress,
    stimulus: Stimulus,
    now: DateTime<Utc>,
) -> Vec<LinkedDecision> {
    let mut chain = RaiseChain::new(address, stimulus.cause.clone());
    let mut first = Some(stimulus);
    let mut decided = Vec::new();
    while let Some((address, cause)) = chain.next().map(|(address, cause)| (address.clone(), cause.clone())) {
        let known = instances.definition(&address.machine).zip(instances.find(&address));
        let Some((definition, instance)) = known else {
            first = None;
            chain.undecided(&format!("there is no {address}"));
            continue;
        };
        let stimulus = first.take().unwrap_or_else(|| {
            let is_read = reads_facts(definition, &instance.state, &cause);
            let facts = if is_read { instances.facts(&address) } else { Map::new() };
            // No model is asked about what is raised.
            Stimulus { cause, facts, predicted: ModelAnswers::default() }
        });
        let decision = decide(definition, instance, &stimulus, now);
        chain.decided(&decision.outcome, &decision.effects);
        instances.put(&address, decision.instance.clone());
        decided.push(LinkedDecision { address, stimulus, decision });
    }
    decided
}

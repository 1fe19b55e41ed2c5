//! A chain of decisions with all instances in memory.

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
    /// Returns the definition of a machine.
    fn definition(&self, machine: &MachineName) -> Option<&Definition>;

    /// Returns an instance.
    fn find(&self, address: &InstanceAddress) -> Option<&Instance>;

    /// Returns the facts of an instance.
    fn facts(&self, address: &InstanceAddress) -> Map<String, Value>;

    /// Stores an instance after a decision.
    fn put(&mut self, address: &InstanceAddress, instance: Instance);
}

/// A decision of a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkedDecision {
    /// The instance that decided.
    pub address: InstanceAddress,
    /// The stimulus.
    pub stimulus: Stimulus,
    /// The decision.
    pub decision: Decision,
}

/// Decides on `stimulus` for the instance at `address`, and on all events raised by it, in order: each instance is
/// stored before the next decision.
///
/// The first decision is that of `stimulus`; the list is empty if the instance does not exist.
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
            // Models are not asked about raised events.
            Stimulus { cause, facts, predicted: ModelAnswers::default() }
        });
        let decision = decide(definition, instance, &stimulus, now);
        chain.decided(&decision.outcome, &decision.effects);
        instances.put(&address, decision.instance.clone());
        decided.push(LinkedDecision { address, stimulus, decision });
    }
    decided
}

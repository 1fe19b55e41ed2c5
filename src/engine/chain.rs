//! Chains of decisions at linked instances.
//!
//! A raised event is decided on by the linked instance, which can raise events in turn. The whole chain is decided on before
//! any of its decisions is applied, because only then is it known what has to be read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Map;

use super::claims::HoldChanges;
use super::definition_cache::DefinitionSet;
use super::face::SharedFactsByFace;
use super::pending_update::PendingUpdate;
use super::pending_updates::PendingUpdates;
use super::step::{ChainStep, MissingInput};
use super::work_item::Submission;
use crate::machine::{
    self, Cause, Decision, Definition, Effect, Instance, InstanceAddress, Links, ModelAnswers, RaiseChain,
    Stimulus,
};
use crate::store::instances::{InstanceId, InstanceKey};
use crate::store::links::LinkedIds;

/// The input of a chain.
#[derive(Clone, Copy)]
pub(super) struct ChainContext<'a> {
    pub(super) pending: &'a PendingUpdates,
    pub(super) definitions: &'a DefinitionSet,
    /// The shared facts, where they were read.
    pub(super) shared_facts: Option<&'a SharedFactsByFace>,
    pub(super) now: DateTime<Utc>,
}

impl ChainContext<'_> {
    /// Decides on a submission to the instance `id`, and on all events that it raises; nothing is applied.
    pub(super) fn decide(
        self,
        id: InstanceId,
        submission: &Submission,
    ) -> Result<Vec<ChainStep>, MissingInput> {
        let Some(update) = self.pending.get(id) else { return Ok(Vec::new()) };
        let chain = RaiseChain::new(address(update.instance()), submission.cause.clone());
        let mut run = ChainRun { submission: Some(submission), ..ChainRun::new(self, id, chain) };
        run.decide_all()?;
        Ok(run.steps)
    }

    /// Decides on all events that are raised by the creation of the instance `id`.
    pub(super) fn follow(
        self,
        id: InstanceId,
        created: &Cause,
        decision: &Decision,
    ) -> Result<Vec<ChainStep>, MissingInput> {
        let Some(update) = self.pending.get(id) else { return Ok(Vec::new()) };
        let own = address(update.instance());
        let mut run = ChainRun::new(self, id, RaiseChain::new(own.clone(), created.clone()));
        run.note_routes(&own, (&decision.instance.links, update.linked()), &decision.effects);
        run.chain.decided(&decision.outcome, &decision.effects);
        run.decide_all()?;
        Ok(run.steps)
    }
}

/// Returns the address of an instance.
pub(super) fn address(instance: &Instance) -> InstanceAddress {
    InstanceAddress { machine: instance.machine.clone(), name: instance.name.clone() }
}

/// An instance in the middle of a chain.
struct ChainInstance {
    instance: Arc<Instance>,
    linked: LinkedIds,
}

struct ChainRun<'a> {
    context: ChainContext<'a>,
    chain: RaiseChain,
    /// The first submission, until it is decided on.
    submission: Option<&'a Submission>,
    /// The instances that have decided.
    ids_by_address: BTreeMap<InstanceAddress, InstanceId>,
    instances: HashMap<InstanceId, ChainInstance>,
    /// The instances that events from one address to another can reach, by the links of the sender.
    routes: HashMap<(InstanceAddress, InstanceAddress), BTreeSet<InstanceId>>,
    steps: Vec<ChainStep>,
}

impl<'a> ChainRun<'a> {
    fn new(context: ChainContext<'a>, id: InstanceId, chain: RaiseChain) -> Self {
        let first = context.pending.get(id).map(|update| (address(update.instance()), id));
        Self {
            context,
            chain,
            submission: None,
            ids_by_address: first.into_iter().collect(),
            instances: HashMap::new(),
            routes: HashMap::new(),
            steps: Vec::new(),
        }
    }

    fn decide_all(&mut self) -> Result<(), MissingInput> {
        while let Some((to, cause)) = self.chain.next().map(|(to, cause)| (to.clone(), cause.clone())) {
            let definition = self.context.definitions.definition(&to.machine).cloned();
            match (self.find(&to)?, definition) {
                (Some(update), Ok(definition)) => self.decide_next(&to, update, cause, &definition)?,
                (None, _) => self.chain.undecided(&format!("there is no {to}")),
                (_, Err(error)) => self.chain.undecided(&error.to_string()),
            }
        }
        Ok(())
    }

    /// Finds the instance that decides next.
    fn find(&self, to: &InstanceAddress) -> Result<Option<&'a PendingUpdate>, MissingInput> {
        let pending = self.context.pending;
        let Some(sender) = self.chain.raised_by() else {
            // The sender started the chain, or raised an event that is refused.
            return Ok(self.ids_by_address.get(to).and_then(|id| pending.get(*id)));
        };
        let ids = self.routes.get(&(sender.clone(), to.clone()));
        // The last instance with this name, where it was reused.
        for id in ids.into_iter().flatten().rev() {
            match pending.get(*id) {
                Some(update) if update.is_closed() && !self.ids_by_address.contains_key(to) => {
                    return Err(MissingInput::NextBatch);
                }
                Some(update) => return Ok(Some(update)),
                None if pending.is_missing(*id) => {}
                None => return Err(MissingInput::Instance(InstanceKey::Id(*id))),
            }
        }
        Ok(None)
    }

    fn decide_next(
        &mut self,
        to: &InstanceAddress,
        update: &'a PendingUpdate,
        cause: Cause,
        definition: &Definition,
    ) -> Result<(), MissingInput> {
        let id = update.id();
        if update.lacks_facts() {
            return Err(MissingInput::Facts(id));
        }
        let before = self.instances.remove(&id).unwrap_or_else(|| ChainInstance {
            instance: Arc::clone(update.instance()),
            linked: update.linked().clone(),
        });
        let facts = match (
            machine::reads_facts(definition, &before.instance.state, &cause),
            self.context.shared_facts,
        ) {
            (false, _) => Map::new(),
            (true, Some(shared)) => update.facts_of(&before.instance, shared),
            (true, None) => return Err(MissingInput::SharedFacts),
        };
        // Models are not queried for raised events.
        let predicted = self
            .submission
            .take()
            .map_or_else(ModelAnswers::default, |submission| submission.predictions.answers());
        let stimulus = Stimulus { cause, facts, predicted };
        let decision = machine::decide(definition, &before.instance, &stimulus, self.context.now);
        self.ids_by_address.insert(to.clone(), id);
        self.note_routes(to, (&before.instance.links, &before.linked), &decision.effects);
        let linked = self.find_new_links(&before, &decision.instance)?;
        let present = linked.as_ref().unwrap_or(&before.linked).clone();
        self.note_routes(to, (&decision.instance.links, &present), &decision.effects);
        self.chain.decided(&decision.outcome, &decision.effects);
        let instance = Arc::new(decision.instance.clone());
        self.instances.insert(id, ChainInstance { instance, linked: present });
        let holds = HoldChanges::of(definition, &before.instance.state, &decision.instance.state);
        self.steps.push(ChainStep { id, stimulus, decision, holds, linked });
        Ok(())
    }

    /// Records the instances that events of `sender` can reach; the decision can add or remove a link.
    fn note_routes(
        &mut self,
        sender: &InstanceAddress,
        (links, linked): (&Links, &LinkedIds),
        effects: &[Effect],
    ) {
        for effect in effects {
            let Effect::Raise(raised) = effect else { continue };
            let ids = links.iter().filter(|(_, link)| link.to == raised.to);
            let ids = ids.filter_map(|(name, _)| linked.get(name).copied());
            self.routes.entry((sender.clone(), raised.to.clone())).or_default().extend(ids);
        }
    }

    /// Finds the numbers of the linked instances after a decision, where it changed links.
    fn find_new_links(
        &self,
        before: &ChainInstance,
        after: &Instance,
    ) -> Result<Option<LinkedIds>, MissingInput> {
        if before.instance.links == after.links {
            return Ok(None);
        }
        let mut linked = LinkedIds::new();
        for (name, link) in &after.links {
            let id = if before.instance.links.get(name) == Some(link) {
                before.linked.get(name).copied()
            } else if let Some(id) = self.ids_by_address.get(&link.to) {
                Some(*id)
            } else {
                self.context.pending.find_id(&link.to)?
            };
            linked.extend(id.map(|id| (name.clone(), id)));
        }
        Ok(Some(linked))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::actions::ActionRegistry;
    use crate::engine::definition_cache::ActiveDefinition;
    use crate::machine::{EventName, EventSource, LinkName, MachineName, NamedActions, Vocabulary};
    use crate::store::actions::ActionId;
    use crate::store::batches::{RowVersion, VersionedInstance};
    use crate::store::definitions::ActivatedDefinition;

    const DOOR: &str = "machine: door
initial: Shut
links: { bell: bell }
events: { knock: { from: operator } }
states:
  Shut: { about: nobody is in, resting: true, on: { knock: { do: { raise: { event: ring, to: bell } } } } }
";
    const BELL: &str = "machine: bell
initial: Quiet
events: { ring: { from: { machine: door } } }
states:
  Quiet: { about: nobody is at the door, resting: true, on: { ring: { do: { set: { rung: true } } } } }
";
    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn definitions() -> DefinitionSet {
        let mut set = DefinitionSet::default();
        for source in [DOOR, BELL] {
            let vocabulary = Vocabulary::new(Arc::new(NamedActions::default()));
            let definition = Arc::new(machine::load(source, &vocabulary).unwrap());
            let machine = definition.machine.clone();
            let activated = ActivatedDefinition {
                machine: machine.clone(),
                number: 1,
                digest: String::new(),
                at: NOW,
                origin: String::new(),
                sender: None,
                first_history: 0,
            };
            set.machines.insert(machine, Arc::new(ActiveDefinition { activated, definition }));
        }
        set
    }

    fn update(definitions: &DefinitionSet, id: i64, machine: &str, linked: LinkedIds) -> PendingUpdate {
        let definition = definitions.definition(&MachineName::new(machine).unwrap()).unwrap();
        let to = |link: &machine::LinkName| {
            let to =
                InstanceAddress { machine: definition.links[link].machine.clone(), name: "a".to_owned() };
            (link.clone(), machine::Link { to, visit: None })
        };
        let links = linked.keys().map(to).collect();
        let instance = Arc::new(machine::create_linked(definition, "a", links, Map::new(), NOW).instance);
        let (id, version) = (InstanceId(id), RowVersion::nth(1));
        let versioned = VersionedInstance {
            id,
            version,
            instance,
            linked,
            facts: None,
            has_read_facts: true,
            has_actions: true,
        };
        PendingUpdate::new(versioned, &Arc::new(ActionRegistry::default()))
    }

    #[test]
    fn a_raised_event_waits_for_the_next_batch_where_an_action_of_its_target_ends_in_this_one() {
        let (definitions, mut pending) = (definitions(), PendingUpdates::default());
        let bell = LinkedIds::from([(LinkName::new("bell").unwrap(), InstanceId(2))]);
        pending.add(update(&definitions, 1, "door", bell));
        pending.add(update(&definitions, 2, "bell", LinkedIds::new()));
        let knock = Cause::Event {
            name: EventName::new("knock").unwrap(),
            source: EventSource::Operator,
            args: Map::new(),
            visit: None,
        };
        let knock = Submission::new(InstanceKey::Id(InstanceId(1)), knock);
        let decide = |pending: &PendingUpdates| {
            let context = ChainContext { pending, definitions: &definitions, shared_facts: None, now: NOW };
            context
                .decide(InstanceId(1), &knock)
                .map(|steps| steps.iter().map(|step| step.id.0).collect::<Vec<_>>())
        };
        assert_eq!(decide(&pending), Ok(vec![1, 2]));
        pending.get_mut(InstanceId(2)).unwrap().end_action(ActionId(7));
        assert_eq!(decide(&pending), Err(MissingInput::NextBatch));
    }
}

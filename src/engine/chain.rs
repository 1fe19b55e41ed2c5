//! What follows from one thing that happens, at all instances that are linked.
//!
//! What an instance raises is decided on by the instance that it is linked to, and that may raise something in turn. Here
//! the whole chain is decided on before any of it is kept, because only then is it known what has to be read for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Map;

use super::claims::StateHolds;
use super::draft::Draft;
use super::drafts::Drafts;
use super::face::SharedByFace;
use super::rules::Known;
use super::step::{Lack, Step};
use super::work::Submission;
use crate::machine::{
    self, Address, Cause, Chain, Decision, Definition, Effect, Instance, Links, Predicted, Stimulus,
};
use crate::store::instances::{InstanceId, Target};
use crate::store::links::LinkedIds;

/// What a chain may look at.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) drafts: &'a Drafts,
    pub(super) rules: &'a Known,
    /// What instances have in common, where that was read.
    pub(super) shared: Option<&'a SharedByFace>,
    pub(super) now: DateTime<Utc>,
}

impl Scene<'_> {
    /// Decides on what happens to the instance `id`, and on all that is raised because of it; nothing is kept.
    pub(super) fn decide(self, id: InstanceId, submission: &Submission) -> Result<Vec<Step>, Lack> {
        let Some(draft) = self.drafts.get(id) else { return Ok(Vec::new()) };
        let chain = Chain::new(address(draft.instance()), submission.cause.clone());
        let mut run = Run { submission: Some(submission), ..Run::new(self, id, chain) };
        run.go_on()?;
        Ok(run.steps)
    }

    /// Decides on all that is raised because of a decision of the instance `id`, which came to be by it.
    pub(super) fn follow(
        self,
        id: InstanceId,
        created: &Cause,
        decision: &Decision,
    ) -> Result<Vec<Step>, Lack> {
        let Some(draft) = self.drafts.get(id) else { return Ok(Vec::new()) };
        let own = address(draft.instance());
        let mut run = Run::new(self, id, Chain::new(own.clone(), created.clone()));
        run.note_routes(&own, (&decision.instance.links, draft.linked()), &decision.effects);
        run.chain.decided(&decision.outcome, &decision.effects);
        run.go_on()?;
        Ok(run.steps)
    }
}

/// The address of an instance.
pub(super) fn address(instance: &Instance) -> Address {
    Address { machine: instance.machine.clone(), name: instance.name.clone() }
}

/// How an instance stands in the middle of a chain.
struct Standing {
    instance: Arc<Instance>,
    linked: LinkedIds,
}

struct Run<'a> {
    scene: Scene<'a>,
    chain: Chain,
    /// What it begins with, until that is decided on.
    submission: Option<&'a Submission>,
    /// Whoever has decided something.
    met: BTreeMap<Address, InstanceId>,
    standing: HashMap<InstanceId, Standing>,
    /// To which instances what one raises at an address may go: its links say so.
    routes: HashMap<(Address, Address), BTreeSet<InstanceId>>,
    steps: Vec<Step>,
}

impl<'a> Run<'a> {
    fn new(scene: Scene<'a>, id: InstanceId, chain: Chain) -> Self {
        let first = scene.drafts.get(id).map(|draft| (address(draft.instance()), id));
        Self {
            scene,
            chain,
            submission: None,
            met: first.into_iter().collect(),
            standing: HashMap::new(),
            routes: HashMap::new(),
            steps: Vec::new(),
        }
    }

    fn go_on(&mut self) -> Result<(), Lack> {
        while let Some((to, cause)) = self.chain.next().map(|(to, cause)| (to.clone(), cause.clone())) {
            let definition = self.scene.rules.definition(&to.machine).cloned();
            match (self.find(&to)?, definition) {
                (Some(draft), Ok(definition)) => self.take_turn(&to, draft, cause, &definition)?,
                (None, _) => self.chain.undecided(&format!("there is no {to}")),
                (_, Err(error)) => self.chain.undecided(&error.to_string()),
            }
        }
        Ok(())
    }

    /// Whose turn it is.
    fn find(&self, to: &Address) -> Result<Option<&'a Draft>, Lack> {
        let drafts = self.scene.drafts;
        let Some(sender) = self.chain.raised_by() else {
            // It began the chain, or raised something that is refused.
            return Ok(self.met.get(to).and_then(|id| drafts.get(*id)));
        };
        let ids = self.routes.get(&(sender.clone(), to.clone()));
        // The last one to get the name, where it was another's before.
        for id in ids.into_iter().flatten().rev() {
            match drafts.get(*id) {
                Some(draft) if draft.is_closed() && !self.met.contains_key(to) => return Err(Lack::Turn),
                Some(draft) => return Ok(Some(draft)),
                None if drafts.is_gone(*id) => {}
                None => return Err(Lack::Instance(Target::Id(*id))),
            }
        }
        Ok(None)
    }

    fn take_turn(
        &mut self,
        to: &Address,
        draft: &'a Draft,
        cause: Cause,
        definition: &Definition,
    ) -> Result<(), Lack> {
        let id = draft.id();
        let before = self.standing.remove(&id).unwrap_or_else(|| Standing {
            instance: Arc::clone(draft.instance()),
            linked: draft.linked().clone(),
        });
        let facts =
            match (machine::reads_facts(definition, &before.instance.state, &cause), self.scene.shared) {
                (false, _) => Map::new(),
                (true, Some(shared)) => draft.facts_of(&before.instance, shared),
                (true, None) => return Err(Lack::Shared),
            };
        // No model is asked about what is raised.
        let predicted =
            self.submission.take().map_or_else(Predicted::default, |one| one.predictions.answers());
        let stimulus = Stimulus { cause, facts, predicted };
        let decision = machine::decide(definition, &before.instance, &stimulus, self.scene.now);
        self.met.insert(to.clone(), id);
        self.note_routes(to, (&before.instance.links, &before.linked), &decision.effects);
        let linked = self.link(&before, &decision.instance)?;
        let present = linked.as_ref().unwrap_or(&before.linked).clone();
        self.note_routes(to, (&decision.instance.links, &present), &decision.effects);
        self.chain.decided(&decision.outcome, &decision.effects);
        let instance = Arc::new(decision.instance.clone());
        self.standing.insert(id, Standing { instance, linked: present });
        let holds = StateHolds::of(definition, &before.instance.state, &decision.instance.state);
        self.steps.push(Step { id, stimulus, decision, holds, linked });
        Ok(())
    }

    /// Notes to whom what `sender` raises may go: a link may be new, or removed with what is raised.
    fn note_routes(&mut self, sender: &Address, (links, linked): (&Links, &LinkedIds), effects: &[Effect]) {
        for effect in effects {
            let Effect::Raise(raised) = effect else { continue };
            let ids = links.iter().filter(|(_, link)| link.to == raised.to);
            let ids = ids.filter_map(|(name, _)| linked.get(name).copied());
            self.routes.entry((sender.clone(), raised.to.clone())).or_default().extend(ids);
        }
    }

    /// The numbers of the instances that one is linked to from here on, where its links are not what they were.
    fn link(&self, before: &Standing, after: &Instance) -> Result<Option<LinkedIds>, Lack> {
        if before.instance.links == after.links {
            return Ok(None);
        }
        let mut linked = LinkedIds::new();
        for (name, link) in &after.links {
            let id = if before.instance.links.get(name) == Some(link) {
                before.linked.get(name).copied()
            } else if let Some(id) = self.met.get(&link.to) {
                Some(*id)
            } else {
                self.scene.drafts.number(&link.to)?
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
    use crate::actions::Registry;
    use crate::engine::rules::InForce;
    use crate::machine::{EventName, LinkName, MachineName, NamedActions, Source, Vocabulary};
    use crate::store::actions::ActionId;
    use crate::store::definitions::Adopted;
    use crate::store::groups::{RowVersion, Seen};

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

    fn rules() -> Known {
        let mut known = Known::default();
        for source in [DOOR, BELL] {
            let vocabulary = Vocabulary::new(Arc::new(NamedActions::default()));
            let definition = Arc::new(machine::load(source, &vocabulary).unwrap());
            let machine = definition.machine.clone();
            let adopted = Adopted {
                machine: machine.clone(),
                number: 1,
                digest: String::new(),
                at: NOW,
                origin: String::new(),
                sender: None,
                first_history: 0,
            };
            known.machines.insert(machine, Arc::new(InForce { adopted, definition }));
        }
        known
    }

    fn draft(rules: &Known, id: i64, machine: &str, linked: LinkedIds) -> Draft {
        let definition = rules.definition(&MachineName::new(machine).unwrap()).unwrap();
        let to = |link: &machine::LinkName| {
            let to = Address { machine: definition.links[link].machine.clone(), name: "a".to_owned() };
            (link.clone(), machine::Link { to, visit: None })
        };
        let links = linked.keys().map(to).collect();
        let instance = Arc::new(machine::create_linked(definition, "a", links, Map::new(), NOW).instance);
        let (id, version) = (InstanceId(id), RowVersion::nth(1));
        let seen = Seen { id, version, instance, linked, facts: None, has_actions: true };
        Draft::new(seen, &Arc::new(Registry::default()))
    }

    #[test]
    fn what_is_raised_waits_for_the_next_batch_where_an_action_of_its_target_ends_in_this_one() {
        let (rules, mut drafts) = (rules(), Drafts::default());
        let bell = LinkedIds::from([(LinkName::new("bell").unwrap(), InstanceId(2))]);
        drafts.add(draft(&rules, 1, "door", bell));
        drafts.add(draft(&rules, 2, "bell", LinkedIds::new()));
        let knock = Cause::Event {
            name: EventName::new("knock").unwrap(),
            source: Source::Operator,
            args: Map::new(),
            visit: None,
        };
        let knock = Submission::new(Target::Id(InstanceId(1)), knock);
        let decide = |drafts: &Drafts| {
            let scene = Scene { drafts, rules: &rules, shared: None, now: NOW };
            scene
                .decide(InstanceId(1), &knock)
                .map(|steps| steps.iter().map(|step| step.id.0).collect::<Vec<_>>())
        };
        assert_eq!(decide(&drafts), Ok(vec![1, 2]));
        drafts.get_mut(InstanceId(2)).unwrap().end(ActionId(7));
        assert_eq!(decide(&drafts), Err(Lack::Turn));
    }
}

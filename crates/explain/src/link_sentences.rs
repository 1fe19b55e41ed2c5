//! What an instance has to do with others that it is linked to, in words.

use std::collections::BTreeMap;

use machine::{DeclaredRaise, Instance, Operation, Sender, State, TransitionEffect};

use crate::explanation::AwaitedEvent;
use formatting::list;

/// To whom it is linked, and what its state raises there.
pub(crate) fn link_sentences(instance: &Instance, state: &State) -> Vec<String> {
    if instance.links.is_empty() {
        return Vec::new();
    }
    let links = instance.links.iter().map(|(name, link)| match link.visit {
        Some(visit) => format!("{} ({name}, in visit {visit})", link.to),
        None => format!("{} ({name})", link.to),
    });
    let links: Vec<String> = links.collect();
    let raised: Vec<String> = raised_by(&state.entry, instance);
    let raises = state.on.iter().filter_map(|(event, transitions)| {
        let operations = transitions.iter().flat_map(|transition| operations(&transition.effect));
        let raised = raised_by(operations, instance);
        (!raised.is_empty()).then(|| format!("{event} raises {}", list(&raised, "and")))
    });
    let raises: Vec<String> = raises.collect();
    let mut sentences = vec![format!("It is linked to {}.", list(&links, "and"))];
    if !raised.is_empty() {
        sentences.push(format!("As it entered this state it raised {}.", list(&raised, "and")));
    }
    if !raises.is_empty() {
        sentences.push(format!("In this state {}.", raises.join("; ")));
    }
    sentences
}

/// What is awaited of those that it is linked to: `ready from thing/t1`.
pub(crate) fn awaited_from_links(instance: &Instance, awaited: &[AwaitedEvent]) -> Vec<String> {
    let mut by_sender: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for one in awaited {
        let machine = one.from.iter().find_map(|from| match from {
            Sender::Machine(machine) => Some(machine),
            Sender::Face(_) | Sender::Operator | Sender::Action => None,
        });
        let Some(machine) = machine else { continue };
        let linked = instance.links.values().filter(|link| link.to.machine == *machine);
        let linked: Vec<String> = linked.map(|link| link.to.to_string()).collect();
        let whom = if linked.is_empty() { format!("a {machine}") } else { list(&linked, "or") };
        by_sender.entry(whom).or_default().push(one.event.as_str());
    }
    by_sender.into_iter().map(|(whom, events)| format!("{} from {whom}", list(&events, "or"))).collect()
}

fn operations(effect: &TransitionEffect) -> &[Operation] {
    match effect {
        TransitionEffect::Move { operations, .. } | TransitionEffect::Stay { operations } => operations,
        TransitionEffect::Refuse { .. } => &[],
    }
}

/// The events, each with the instance that it goes to; where a link leads nowhere nothing is raised.
fn raised_by<'a>(operations: impl IntoIterator<Item = &'a Operation>, instance: &Instance) -> Vec<String> {
    let one = |DeclaredRaise { event, to, .. }: DeclaredRaise<'_>| {
        Some(format!("{event} at {}", instance.links.get(to)?.to))
    };
    operations.into_iter().filter_map(Operation::declared_raise).filter_map(one).collect()
}

//! The links of an instance in sentences.

use std::collections::BTreeMap;

use machine::{DeclaredRaise, Instance, Operation, Sender, State, TransitionEffect};

use crate::explanation::AwaitedEvent;
use formatting::list;

/// Describes the links of `instance`, and the events that its state raises at linked instances.
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
        sentences.push(format!("On entry to this state it raised {}.", list(&raised, "and")));
    }
    if !raises.is_empty() {
        sentences.push(format!("In this state {}.", raises.join("; ")));
    }
    sentences
}

/// Lists the events that are awaited from linked instances: `ready from thing/t1`.
pub(crate) fn awaited_from_links(instance: &Instance, awaited_events: &[AwaitedEvent]) -> Vec<String> {
    let mut by_sender: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for awaited in awaited_events {
        let machine = awaited.senders.iter().find_map(|sender| match sender {
            Sender::Machine(machine) => Some(machine),
            Sender::Face(_) | Sender::Operator | Sender::Action => None,
        });
        let Some(machine) = machine else { continue };
        let linked = instance.links.values().filter(|link| link.to.machine == *machine);
        let linked: Vec<String> = linked.map(|link| link.to.to_string()).collect();
        let sender = if linked.is_empty() { format!("a {machine}") } else { list(&linked, "or") };
        by_sender.entry(sender).or_default().push(awaited.event.as_str());
    }
    by_sender.into_iter().map(|(sender, events)| format!("{} from {sender}", list(&events, "or"))).collect()
}

fn operations(effect: &TransitionEffect) -> &[Operation] {
    match effect {
        TransitionEffect::Move { operations, .. } | TransitionEffect::Stay { operations } => operations,
        TransitionEffect::Refuse { .. } => &[],
    }
}

/// Lists the events that `operations` raise, each with its target; a link that is not set raises nothing.
fn raised_by<'a>(operations: impl IntoIterator<Item = &'a Operation>, instance: &Instance) -> Vec<String> {
    let describe = |DeclaredRaise { event, to, .. }: DeclaredRaise<'_>| {
        Some(format!("{event} at {}", instance.links.get(to)?.to))
    };
    operations.into_iter().filter_map(Operation::declared_raise).filter_map(describe).collect()
}

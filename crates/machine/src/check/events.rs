//! The declared events: senders and arguments.

use std::collections::BTreeSet;

use super::action_outcomes::known_ended_action;
use super::known_names::KnownNames;
use super::senders;
use crate::definition::Event;
use crate::fault::FaultCollector;
use crate::names::EventName;
use crate::parse_helpers::{about_text, valid_name};
use crate::rule::Rule;
use crate::sender::Sender;
use crate::source::SourceNode;

/// Adds the events that `node` declares to the known names.
pub(super) fn declare(node: &SourceNode, known: &mut KnownNames<'_>, faults: &mut FaultCollector) {
    let vocabulary = known.vocabulary;
    // So far, only refusals come from other machines.
    let is_refusal = |(_, event): &(&EventName, &Event)| {
        event.from.iter().any(|sender| matches!(sender, Sender::Machine(_)))
    };
    let refusals: BTreeSet<EventName> =
        known.events.iter().filter(is_refusal).map(|(name, _)| name.clone()).collect();
    for (key, node) in node.entries("a mapping of events", faults) {
        let fields = node.fields("an event", &["from", "args", "about"], faults);
        if let Some(action) = known_ended_action(&key.text, vocabulary.actions()) {
            let message =
                format!("`{}` is what action `{action}` ends in: it needs no declaration", key.text);
            faults.add(key.at, Rule::Form, message);
            continue;
        }
        if refusals.contains(key.text.as_str()) {
            let message = format!("`{}` is the refusal of what is raised: it needs no declaration", key.text);
            faults.add(key.at, Rule::Form, message);
            continue;
        }
        let mut event =
            Event { from: BTreeSet::new(), args: BTreeSet::new(), about: about_text(fields, faults) };
        let senders = fields.get("from").map_or(&[][..], SourceNode::one_or_many);
        if senders.is_empty() {
            let known = senders::choice(vocabulary, "`from: ", "`");
            faults.add(key.at, Rule::Form, format!("declare who may send this event: {known}"));
        }
        event.from.extend(senders.iter().filter_map(|node| senders::check(node, vocabulary, faults)));
        for argument in fields.get("args").map_or(&[][..], SourceNode::one_or_many) {
            event.args.extend(argument.text("the name of an argument", faults).map(str::to_owned));
        }
        if let Some(name) = valid_name(key.at, EventName::new(&key.text), faults) {
            known.events.insert(name, event);
        }
    }
}

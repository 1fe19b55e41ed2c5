//! The names in a definition, collected before references are checked.

use std::collections::{BTreeMap, BTreeSet};

use super::super::definition::Event;
use super::super::fault::{FaultCollector, SourcePosition};
use super::super::link::LinkDeclaration;
use super::super::names::{ActionName, CounterName, EventName, LinkName, ResourceName, StateName};
use super::super::operation::{Operation, OperationNames, refusal};
use super::super::resource::ResourceDeclaration;
use super::super::rule::Rule;
use super::super::sender::Sender;
use super::super::source::{SourceContent, SourceKey, SourceNode};
use super::super::vocabulary::Vocabulary;
use super::action_outcomes::known_ended_action;
use super::written_operations;
use crate::parse_helpers::valid_name;

/// The names that a definition may refer to.
pub(super) struct KnownNames<'a> {
    /// The states, including those with invalid names.
    states: BTreeSet<&'a str>,
    /// The declared events, and the outcomes of the invoked actions.
    pub(super) events: BTreeMap<EventName, Event>,
    /// The counters of limits and of operations.
    pub(super) counters: BTreeSet<CounterName>,
    /// The links.
    pub(super) links: BTreeMap<LinkName, LinkDeclaration>,
    /// The resources, which are added later.
    pub(super) resources: BTreeMap<ResourceName, ResourceDeclaration>,
    /// The names that faces register.
    pub(super) vocabulary: &'a Vocabulary,
}

impl<'a> KnownNames<'a> {
    /// Collects the names in `states` and `groups`; declared events and resources are added later.
    pub(super) fn collect(
        states: &'a [(SourceKey, SourceNode)],
        groups: Option<&'a SourceNode>,
        links: BTreeMap<LinkName, LinkDeclaration>,
        vocabulary: &'a Vocabulary,
    ) -> Self {
        let names = states.iter().map(|(key, _)| key.text.as_str()).collect();
        let (events, counters, resources) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let mut known = Self { states: names, events, counters, links, resources, vocabulary };
        for (key, node) in states {
            if let Some((_, node)) = node.child("invoke") {
                known.collect_outcomes(node);
            }
            if let Some((_, node)) = node.child("timeout") {
                known.collect_limit(key, node);
            }
        }
        let groups = groups.map_or(&[][..], SourceNode::members).iter();
        for (key, node) in
            states.iter().chain(groups).flat_map(|(_, part)| written_operations::operations(part))
        {
            let named = Operation::counter_named(&key.text, node).map(CounterName::new);
            known.counters.extend(named.into_iter().flatten());
            if key.text == "raise" {
                known.collect_refusal(node);
            }
        }
        known
    }

    fn collect_outcomes(&mut self, node: &SourceNode) {
        for element in node.one_or_many() {
            let action = match &element.content {
                SourceContent::Text(action) => action,
                SourceContent::Map(_) => match text_at(element, "action") {
                    Some(action) => action,
                    None => continue,
                },
                SourceContent::Null
                | SourceContent::Bool(_)
                | SourceContent::Number(_)
                | SourceContent::List(_) => continue,
            };
            for outcome in ["ok", "failed"] {
                let Ok(name) = EventName::new(&format!("{action}-{outcome}")) else { continue };
                let from = BTreeSet::from([Sender::Action]);
                let about = String::new();
                self.events.insert(name, Event { from, args: BTreeSet::new(), about });
            }
        }
    }

    /// Adds the refusal of a raised event.
    fn collect_refusal(&mut self, node: &SourceNode) {
        let event = text_at(node, "event").and_then(|event| EventName::new(event).ok());
        let to = text_at(node, "to").and_then(|to| self.links.get(to));
        if let Some((event, LinkDeclaration { machine, .. })) = event.as_ref().and_then(refusal).zip(to) {
            let refused = self.events.entry(event).or_default();
            refused.from.insert(Sender::Machine(machine.clone()));
        }
    }

    /// Returns the names that operations may use.
    pub(super) fn names(&self) -> OperationNames<'_> {
        OperationNames { links: &self.links }
    }

    fn collect_limit(&mut self, state: &SourceKey, node: &SourceNode) {
        let SourceContent::Map(entries) = &node.content else { return };
        if entries.iter().any(|(key, _)| key.text == "limit") {
            let name = text_at(node, "count").unwrap_or(&state.text);
            self.counters.extend(CounterName::new(name));
        }
    }

    /// Whether there is a state of this name.
    pub(super) fn has_state(&self, name: &str) -> bool {
        self.states.contains(name)
    }

    /// Resolves the state that `node` names; `kind` says what it is used for, such as a target.
    pub(super) fn state(
        &self,
        node: &SourceNode,
        kind: &str,
        faults: &mut FaultCollector,
    ) -> Option<StateName> {
        let text = node.text("the name of a state", faults)?;
        if !self.states.contains(text) {
            self.refuse_state(node, kind, faults);
            return None;
        }
        // An invalid name has been reported at the state itself.
        StateName::new(text).ok()
    }

    /// Adds the fault that `node` names no state.
    pub(super) fn refuse_state(&self, node: &SourceNode, kind: &str, faults: &mut FaultCollector) {
        if let SourceContent::Text(text) = &node.content {
            faults.add_unknown(node.at, Rule::UnknownTarget, kind, text, self.states.iter().copied());
        }
    }

    /// Resolves the event that `key` names.
    pub(super) fn event(&self, key: &SourceKey, faults: &mut FaultCollector) -> Option<EventName> {
        match (
            self.events.get_key_value(key.text.as_str()),
            known_ended_action(&key.text, self.vocabulary.actions()),
        ) {
            (Some((name, _)), _) => return Some(name.clone()),
            (None, Some(action)) => {
                let message = format!("no state invokes `{action}`, so `{}` never comes", key.text);
                faults.add(key.at, Rule::UnknownEvent, message);
            }
            (None, None) => {
                faults.add_unknown(
                    key.at,
                    Rule::UnknownEvent,
                    "event",
                    &key.text,
                    self.events.keys().map(EventName::as_str),
                );
            }
        }
        None
    }

    /// Resolves the action that `text` names.
    pub(super) fn action(
        &self,
        at: SourcePosition,
        text: &str,
        faults: &mut FaultCollector,
    ) -> Option<ActionName> {
        let actions = self.vocabulary.actions();
        if actions.contains(text) {
            return valid_name(at, ActionName::new(text), faults);
        }
        faults.add_unknown(at, Rule::UnknownAction, "action", text, actions.names());
        None
    }
}

fn text_at<'n>(node: &'n SourceNode, key: &str) -> Option<&'n str> {
    node.child(key)?.1.as_text()
}

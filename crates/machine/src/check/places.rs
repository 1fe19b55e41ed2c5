//! Where in its text what a definition speaks of stands.

use std::collections::BTreeMap;

use super::super::fault::Position;
use super::super::names::{CounterName, EventName, ResourceName, StateName};
use super::super::source::{Key, Node};
use super::written;
use crate::operation::Operation;

/// The places of a definition's text.
pub(super) struct Places<'a> {
    root: &'a Node,
    states: BTreeMap<&'a str, &'a (Key, Node)>,
    events: BTreeMap<&'a str, &'a (Key, Node)>,
}

impl<'a> Places<'a> {
    pub(super) fn new(root: &'a Node) -> Self {
        let entries = |key| root.child(key).map_or(&[][..], |(_, node)| node.members());
        let by_name = |entries: &'a [(Key, Node)]| {
            entries.iter().map(|entry| (entry.0.text.as_str(), entry)).collect::<BTreeMap<_, _>>()
        };
        Self { root, states: by_name(entries("states")), events: by_name(entries("events")) }
    }

    /// Where a state stands.
    pub(super) fn state(&self, name: &StateName) -> Position {
        self.states.get(name.as_str()).map(|(key, _)| key.at).unwrap_or_default()
    }

    /// Where a state says `key`, or where it stands.
    pub(super) fn within_state(&self, name: &StateName, key: &str) -> Position {
        let found = self.states.get(name.as_str()).and_then(|(_, node)| node.child(key));
        found.map_or_else(|| self.state(name), |(key, _)| key.at)
    }

    /// Where a state itself says what an event does in it.
    pub(super) fn own(&self, name: &StateName, event: &EventName) -> Option<Position> {
        let (_, state) = self.states.get(name.as_str())?;
        let (_, on) = state.child("on")?;
        on.child(event.as_str()).map(|(key, _)| key.at)
    }

    /// Where a state invokes its action of this index.
    pub(super) fn invoked(&self, name: &StateName, index: usize) -> Position {
        let invoke = self.states.get(name.as_str()).and_then(|(_, node)| node.child("invoke"));
        let action = invoke.and_then(|(_, node)| node.one_or_many().get(index));
        action.map_or_else(|| self.state(name), |node| node.at)
    }

    /// Where a resource is declared.
    pub(super) fn resource(&self, name: &ResourceName) -> Position {
        let declared = self.root.child("resources").and_then(|(_, node)| node.child(name.as_str()));
        declared.map_or(Position::default(), |(key, _)| key.at)
    }

    /// Where an event is declared.
    pub(super) fn event(&self, name: &EventName) -> Option<Position> {
        self.events.get(name.as_str()).map(|(key, _)| key.at)
    }

    /// Where an event's declaration says who may send it.
    pub(super) fn senders(&self, name: &EventName) -> Option<Position> {
        let (key, node) = self.events.get(name.as_str())?;
        Some(node.child("from").map_or(key.at, |(key, _)| key.at))
    }

    /// Where an `operation` on this counter stands first.
    pub(super) fn operation(&self, operation: &str, counter: &CounterName) -> Option<Position> {
        let parts = ["groups", "states"].into_iter().filter_map(|key| self.root.child(key));
        let members = parts.flat_map(|(_, node)| node.members());
        let written = members.flat_map(|(_, state)| written::operations(state));
        let on_counter = written.filter(|(key, node)| {
            key.text == operation && Operation::counter_named(&key.text, node) == Some(counter.as_str())
        });
        on_counter.map(|(key, _)| key.at).min()
    }
}

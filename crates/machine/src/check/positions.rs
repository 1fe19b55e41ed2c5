//! Positions of a definition's parts in its text.

use std::collections::BTreeMap;

use super::super::fault::SourcePosition;
use super::super::names::{CounterName, EventName, ResourceName, StateName};
use super::super::source::{SourceKey, SourceNode};
use super::written_operations;
use crate::operation::Operation;

/// The positions of a definition's parts.
pub(super) struct DefinitionPositions<'a> {
    root: &'a SourceNode,
    states: BTreeMap<&'a str, &'a (SourceKey, SourceNode)>,
    events: BTreeMap<&'a str, &'a (SourceKey, SourceNode)>,
}

impl<'a> DefinitionPositions<'a> {
    pub(super) fn new(root: &'a SourceNode) -> Self {
        let entries = |key| root.child(key).map_or(&[][..], |(_, node)| node.members());
        let by_name = |entries: &'a [(SourceKey, SourceNode)]| {
            entries.iter().map(|entry| (entry.0.text.as_str(), entry)).collect::<BTreeMap<_, _>>()
        };
        Self { root, states: by_name(entries("states")), events: by_name(entries("events")) }
    }

    /// Returns the position of a state.
    pub(super) fn state(&self, name: &StateName) -> SourcePosition {
        self.states.get(name.as_str()).map(|(key, _)| key.at).unwrap_or_default()
    }

    /// Returns the position of `key` in a state, or that of the state.
    pub(super) fn within_state(&self, name: &StateName, key: &str) -> SourcePosition {
        let found = self.states.get(name.as_str()).and_then(|(_, node)| node.child(key));
        found.map_or_else(|| self.state(name), |(key, _)| key.at)
    }

    /// Returns the position of an event in a state's own `on:`.
    pub(super) fn event_in_state(&self, name: &StateName, event: &EventName) -> Option<SourcePosition> {
        let (_, state) = self.states.get(name.as_str())?;
        let (_, on) = state.child("on")?;
        on.child(event.as_str()).map(|(key, _)| key.at)
    }

    /// Returns the position of the action with this index in a state's `invoke:`.
    pub(super) fn invoked(&self, name: &StateName, index: usize) -> SourcePosition {
        let invoke = self.states.get(name.as_str()).and_then(|(_, node)| node.child("invoke"));
        let action = invoke.and_then(|(_, node)| node.one_or_many().get(index));
        action.map_or_else(|| self.state(name), |node| node.at)
    }

    /// Returns the position of a resource's declaration.
    pub(super) fn resource(&self, name: &ResourceName) -> SourcePosition {
        let declared = self.root.child("resources").and_then(|(_, node)| node.child(name.as_str()));
        declared.map_or(SourcePosition::default(), |(key, _)| key.at)
    }

    /// Returns the position of an event's declaration.
    pub(super) fn event(&self, name: &EventName) -> Option<SourcePosition> {
        self.events.get(name.as_str()).map(|(key, _)| key.at)
    }

    /// Returns the position of the senders in an event's declaration.
    pub(super) fn senders(&self, name: &EventName) -> Option<SourcePosition> {
        let (key, node) = self.events.get(name.as_str())?;
        Some(node.child("from").map_or(key.at, |(key, _)| key.at))
    }

    /// Returns the position of the first `operation` on this counter.
    pub(super) fn operation(&self, operation: &str, counter: &CounterName) -> Option<SourcePosition> {
        let parts = ["groups", "states"].into_iter().filter_map(|key| self.root.child(key));
        let members = parts.flat_map(|(_, node)| node.members());
        let written = members.flat_map(|(_, state)| written_operations::operations(state));
        let on_counter = written.filter(|(key, node)| {
            key.text == operation && Operation::counter_named(&key.text, node) == Some(counter.as_str())
        });
        on_counter.map(|(key, _)| key.at).min()
    }
}

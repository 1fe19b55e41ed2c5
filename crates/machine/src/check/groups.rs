//! Groups of states, whose transitions are added to each of their members.

use std::collections::{BTreeMap, BTreeSet};

use super::known_names::KnownNames;
use super::transition;
use crate::definition::{State, StateKind};
use crate::fault::FaultCollector;
use crate::names::{EventName, StateName};
use crate::parse_helpers::{is_true, required};
use crate::rule::Rule;
use crate::source::SourceNode;

/// The maximum number of transitions that groups may add to their members in all, to bound the time of the proofs.
const MAX_GROUP_TRANSITIONS: usize = 50_000;
/// Adds the transitions of groups to their members.
pub(super) fn write(
    node: &SourceNode,
    states: &mut BTreeMap<StateName, State>,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) {
    let own: BTreeMap<StateName, BTreeSet<EventName>> = states
        .iter()
        .map(|(name, state)| {
            // Outcomes left to the deadline are the state's own, too.
            (name.clone(), state.on.keys().chain(&state.left_to_deadline).cloned().collect())
        })
        .collect();
    let mut source_groups: BTreeMap<(StateName, EventName), &str> = BTreeMap::new();
    let mut written = 0_usize;
    for (key, node) in node.entries("a mapping of groups", faults) {
        let fields = node.fields("a group of states", &["states", "resting", "on"], faults);
        let is_resting = fields.get("resting").is_some_and(|node| is_true(node, faults));
        let patterns = required(node, fields, "states", faults).map_or(&[][..], SourceNode::one_or_many);
        let mut members = BTreeSet::new();
        for pattern in patterns {
            let found = pattern.text("the name of a state", faults).map(|text| matching(text, &own));
            match found {
                Some(found) if !found.is_empty() => members.extend(found),
                Some(_) => known.refuse_state(pattern, "state", faults),
                None => {}
            }
        }
        for member in members.iter().filter(|_| is_resting) {
            if let Some(state) = states.get_mut(member)
                && state.kind == StateKind::Working
            {
                state.kind = StateKind::Resting;
            }
        }
        let on = match fields.get("on") {
            None if is_resting => continue,
            _ => required(node, fields, "on", faults),
        };
        let Some(on) = on else { continue };
        for (at, event, transitions) in transition::check_on(on, known, faults) {
            written += members.len() * transitions.len();
            if written > MAX_GROUP_TRANSITIONS {
                let message = format!(
                    "the groups add more than {MAX_GROUP_TRANSITIONS} transitions to their members, which is too many"
                );
                faults.add(at, Rule::Form, message);
                return;
            }
            for member in &members {
                if own.get(member).is_some_and(|events| events.contains(&event)) {
                    continue;
                }
                if let Some(other) = source_groups.insert((member.clone(), event.clone()), &key.text) {
                    let message = format!(
                        "state `{member}` has `{event}` from group `{other}` too; define it in the state itself"
                    );
                    faults.add(at, Rule::TwoGroups, message);
                }
                if let Some(state) = states.get_mut(member) {
                    state.on.insert(event.clone(), transitions.clone());
                }
            }
        }
    }
}

/// Returns the states that `pattern` matches: a name, or a prefix followed by `*`.
fn matching<T>(pattern: &str, states: &BTreeMap<StateName, T>) -> Vec<StateName> {
    match pattern.strip_suffix('*') {
        Some(prefix) => states.keys().filter(|name| name.as_str().starts_with(prefix)).cloned().collect(),
        None => states.get_key_value(pattern).map(|(name, _)| name.clone()).into_iter().collect(),
    }
}

//! Cycles of `always` transitions.

use std::collections::{BTreeMap, BTreeSet};

use crate::definition::{State, Transition, TransitionEffect};
use crate::fault::{FaultCollector, SourcePosition};
use crate::names::StateName;
use crate::rule::Rule;
use crate::source::{SourceKey, SourceNode};

/// The maximum number of states that a message lists.
const MAX_NAMED_STATES: usize = 20;

/// Refuses cycles of `always` transitions, so that entering a state always finishes.
pub(super) fn refuse(
    written: &[(SourceKey, SourceNode)],
    states: &BTreeMap<StateName, State>,
    faults: &mut FaultCollector,
) {
    let mut done: BTreeSet<&StateName> = BTreeSet::new();
    for start in states.keys() {
        // Depth-first search without recursion: each step is a state with those of its targets that remain.
        let mut path = vec![(start, next_states(start, states))];
        while let Some((state, targets)) = path.last_mut() {
            let state = *state;
            match targets.pop() {
                Some(target) if done.contains(target) => {}
                Some(target) => match path.iter().position(|(on_path, _)| *on_path == target) {
                    Some(first) => {
                        let cycle = path[first..].iter().map(|(name, _)| name.as_str());
                        let mut named: Vec<&str> = cycle.take(MAX_NAMED_STATES).collect();
                        if path.len() - first > MAX_NAMED_STATES {
                            named.push("…");
                        }
                        let message =
                            format!("`always` transitions form a cycle: {} → {target}", named.join(" → "));
                        let key = written.iter().find(|(key, _)| key.text == target.as_str());
                        faults.add(
                            key.map_or_else(SourcePosition::default, |(key, _)| key.at),
                            Rule::AlwaysLoop,
                            message,
                        );
                    }
                    None => path.push((target, next_states(target, states))),
                },
                None => {
                    done.insert(state);
                    path.pop();
                }
            }
        }
    }
}

fn next_states<'a>(state: &StateName, states: &'a BTreeMap<StateName, State>) -> Vec<&'a StateName> {
    let always: &[Transition] = states.get(state).map_or(&[], |state| &state.always);
    let target = |transition: &'a Transition| match &transition.effect {
        TransitionEffect::Move { target, .. } => Some(target),
        TransitionEffect::Stay { .. } | TransitionEffect::Refuse { .. } => None,
    };
    always.iter().filter_map(target).collect()
}

//! Differences between two definitions of a machine, shown before one replaces the other.

use std::collections::BTreeSet;

use machine::{
    ActionInvocation, Definition, Event, Operation, ResourceName, State, StateName, Timeout, Transition,
    TransitionEffect,
};
use serde::Serialize;

/// The differences between two definitions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// States that only the new definition has.
    pub added: Vec<StateName>,
    /// States that only the old definition has, renamed ones excepted.
    pub removed: Vec<StateName>,
    /// Renamed states: the old name and the new one.
    pub renamed: Vec<(StateName, StateName)>,
    /// All other changes.
    pub changed: Vec<DefinitionChange>,
}

/// A change of one part of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DefinitionChange {
    /// The state that the part belongs to, by its new name; `None` for parts of the whole machine.
    pub state: Option<StateName>,
    /// The part: `timeout`, `on EVENT`, `invoke`, …
    pub what: String,
    /// The old value as written in a definition; `None` for an added part.
    pub was: Option<String>,
    /// The new value; `None` for a removed part.
    pub is: Option<String>,
}

impl Difference {
    /// Compares two definitions.
    #[must_use]
    pub fn new(old: &Definition, new: &Definition) -> Self {
        let mut difference = Self::default();
        let is_old_state = |from: &&StateName| old.states.contains_key(*from);
        let renamed = new.renamed.iter().filter(|(from, _)| is_old_state(from));
        difference.renamed = renamed.map(|(from, to)| (from.clone(), to.clone())).collect();
        let new_name = |from: &StateName| new.renamed.get(from).unwrap_or(from).clone();
        let old_states: BTreeSet<StateName> = old.states.keys().map(new_name).collect();
        difference.added = new.states.keys().filter(|name| !old_states.contains(*name)).cloned().collect();
        difference.removed =
            old.states.keys().filter(|name| !new.states.contains_key(&new_name(name))).cloned().collect();
        difference.note(None, "initial", Some(old.initial.to_string()), Some(new.initial.to_string()));
        let names: BTreeSet<_> = old.events.keys().chain(new.events.keys()).collect();
        for name in names {
            let [was, is] = [old, new].map(|definition| definition.events.get(name).map(event));
            difference.note(None, &format!("event {name}"), was, is);
        }
        let links: BTreeSet<_> = old.links.keys().chain(new.links.keys()).collect();
        for name in links {
            let machine = |definition: &Definition| Some(definition.links.get(name)?.machine.to_string());
            difference.note(None, &format!("link {name}"), machine(old), machine(new));
        }
        let resources: BTreeSet<_> = old.resources.keys().chain(new.resources.keys()).collect();
        for name in resources {
            let declared = |definition: &Definition| Some(definition.resources.get(name)?.to_string());
            difference.note(None, &format!("resource {name}"), declared(old), declared(new));
        }
        for (from, was) in &old.states {
            let to = new_name(from);
            if let Some(is) = new.states.get(&to) {
                difference.compare_states(&to, (was, &new_name), (is, &StateName::clone));
            }
        }
        difference
    }

    /// Whether the definitions behave alike.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Compares the two versions of a state, each with the naming of the states it refers to.
    fn compare_states(
        &mut self,
        name: &StateName,
        was: (&State, StateNaming<'_>),
        is: (&State, StateNaming<'_>),
    ) {
        let sides = [was, is];
        let mut note = |what: &str, describe: &dyn Fn((&State, StateNaming<'_>)) -> Option<String>| {
            let [was, is] = sides.map(describe);
            self.note(Some(name), what, was, is);
        };
        note("kind", &|(state, _)| Some(format!("{:?}", state.kind).to_lowercase()));
        note("label", &|(state, _)| state.label.clone());
        note("entry", &|(state, _)| non_empty(operations(&state.entry)));
        note("hold", &|(state, _)| {
            let held = |(resource, units): (&ResourceName, &u32)| format!("{resource}: {units}");
            non_empty(state.hold.iter().map(held).collect::<Vec<_>>().join(", "))
        });
        note("invoke", &|(state, _)| {
            non_empty(state.invoke.iter().map(invoked).collect::<Vec<_>>().join(", "))
        });
        note("timeout", &|(state, names)| state.timeout.as_ref().map(|limit| timeout(limit, names)));
        note("always", &|(state, names)| non_empty(transitions(&state.always, names)));
        let events: BTreeSet<_> = was.0.on.keys().chain(is.0.on.keys()).collect();
        for event in events {
            note(&format!("on {event}"), &|(state, names)| {
                state.on.get(event).map(|all| transitions(all, names))
            });
        }
    }

    fn note(&mut self, state: Option<&StateName>, what: &str, was: Option<String>, is: Option<String>) {
        if was != is {
            self.changed.push(DefinitionChange { state: state.cloned(), what: what.to_owned(), was, is });
        }
    }
}

/// Maps a state to its new name.
type StateNaming<'a> = &'a dyn Fn(&StateName) -> StateName;

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn event(event: &Event) -> String {
    let from: Vec<String> = event.from.iter().map(ToString::to_string).collect();
    let args: Vec<&str> = event.args.iter().map(String::as_str).collect();
    let args = if args.is_empty() { String::new() } else { format!(", args: [{}]", args.join(", ")) };
    format!("from: {}{args}", from.join(", "))
}

fn invoked(invoke: &ActionInvocation) -> String {
    let limit = invoke.limit.map(|limit| format!(", limit: {}", formatting::duration(limit)));
    let with = (!invoke.with.is_empty()).then(|| format!(", with: {}", serde_json::json!(invoke.with)));
    format!("{}{}{}", invoke.action, limit.unwrap_or_default(), with.unwrap_or_default())
}

fn timeout(timeout: &Timeout, names: StateNaming<'_>) -> String {
    let Timeout { due, target, limit, keeps_actions } = timeout;
    let limit = limit.as_ref().map(|limit| {
        // A counter named after a state is renamed with it.
        let counter = StateName::new(limit.counter.as_str()).map(|counter| names(&counter).to_string());
        let counter = counter.unwrap_or_default();
        format!(", limit: {} (counted as {counter}), exceeded: {}", limit.max_count, names(&limit.exceeded))
    });
    let keep = if *keeps_actions { ", keep: actions" } else { "" };
    format!("{due}, target: {}{}{keep}", names(target), limit.unwrap_or_default())
}

fn transitions(all: &[Transition], names: StateNaming<'_>) -> String {
    all.iter().map(|next| transition(next, names)).collect::<Vec<_>>().join("; ")
}

fn transition(transition: &Transition, names: StateNaming<'_>) -> String {
    let mut parts = Vec::new();
    parts.extend(transition.guard.as_ref().map(|guard| format!("if {}", guard.text())));
    let (operations_text, effect) = match &transition.effect {
        TransitionEffect::Move { operations: all, target } => (operations(all), names(target).to_string()),
        TransitionEffect::Stay { operations: all } => (operations(all), "stay".to_owned()),
        TransitionEffect::Refuse { reason } => (String::new(), format!("refuse: {reason}")),
    };
    parts.extend(non_empty(operations_text).map(|text| format!("do {text}")));
    parts.push(effect);
    parts.join(", ")
}

fn operations(all: &[Operation]) -> String {
    all.iter().map(Operation::describe).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use machine::load;
    use machine::testing::vocabulary;

    use super::*;

    const ACTIONS: &[&str] = &["poll"];

    fn definition(timeout: &str, name: &str, more: &str) -> Definition {
        let text = format!(
            "machine: m\ninitial: Rest\n{more}events:\n  go: {{ from: operator }}\n  done: {{ from: board }}\n\
             states:\n  Rest:\n    about: nothing is to be done\n    resting: true\n    on: {{ go: {name} }}\n  \
             {name}:\n    about: work\n    timeout: {{ after: {timeout}, target: Rest }}\n    on: {{ done: Rest }}\n",
        );
        load(&text, &vocabulary(ACTIONS)).unwrap()
    }

    #[test]
    fn a_renamed_state_is_not_a_change() {
        let old = definition("60s", "Work", "");
        let new = definition("60s", "Working", "renamed: { Work: Working }\n");
        let difference = Difference::new(&old, &new);
        let renamed = ["Work", "Working"].map(|name| StateName::new(name).unwrap());
        assert_eq!(difference.renamed, [renamed.into()]);
        assert_eq!((difference.added.len(), difference.removed.len()), (0, 0));
        assert_eq!(difference.changed, []);
        assert!(Difference::new(&old, &old).is_empty());
    }

    #[test]
    fn a_change_has_its_old_and_its_new_value() {
        let difference = Difference::new(&definition("60s", "Work", ""), &definition("2m", "Work", ""));
        let change = DefinitionChange {
            state: Some(StateName::new("Work").unwrap()),
            what: "timeout".to_owned(),
            was: Some("after: 1m, target: Rest".to_owned()),
            is: Some("after: 2m, target: Rest".to_owned()),
        };
        assert_eq!(difference, Difference { changed: vec![change], ..Difference::default() });
        let stranding = Difference::new(&definition("60s", "Work", ""), &definition("60s", "Other", ""));
        assert_eq!((stranding.added.len(), stranding.removed.len()), (1, 1));
    }
}

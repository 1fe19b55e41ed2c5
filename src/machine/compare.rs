//! What differs between two definitions of a machine, for whoever is about to replace one by the other.

use std::collections::BTreeSet;

use serde::Serialize;

use super::definition::{
    Definition, Event, Invoke, Operation, Setting, State, Timeout, Transition, TransitionEffect,
};
use super::names::StateName;

/// What differs between two definitions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The states that only the new one has.
    pub added: Vec<StateName>,
    /// The states that only the old one has, under whatever name.
    pub removed: Vec<StateName>,
    /// The states that have another name in the new one: the old name and the new one.
    pub renamed: Vec<(StateName, StateName)>,
    /// What else is not as it was.
    pub changed: Vec<Change>,
}

/// One thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The state that it belongs to, by its new name; nothing where it belongs to the whole machine.
    pub state: Option<StateName>,
    /// What it is: `timeout`, `on image-running`, `invoke`, …
    pub what: String,
    /// What it was, as it is written in a definition; nothing where it is new.
    pub was: Option<String>,
    /// What it is; nothing where it is gone.
    pub is: Option<String>,
}

impl Difference {
    /// Compares two definitions.
    #[must_use]
    pub fn new(old: &Definition, new: &Definition) -> Self {
        let mut difference = Self::default();
        let is_here = |from: &&StateName| old.states.contains_key(*from);
        let renamed = new.renamed.iter().filter(|(from, _)| is_here(from));
        difference.renamed = renamed.map(|(from, to)| (from.clone(), to.clone())).collect();
        let new_name = |from: &StateName| new.renamed.get(from).unwrap_or(from).clone();
        let before: BTreeSet<StateName> = old.states.keys().map(new_name).collect();
        difference.added = new.states.keys().filter(|name| !before.contains(*name)).cloned().collect();
        difference.removed =
            old.states.keys().filter(|name| !new.states.contains_key(&new_name(name))).cloned().collect();
        difference.note(None, "initial", Some(old.initial.to_string()), Some(new.initial.to_string()));
        let names: BTreeSet<_> = old.events.keys().chain(new.events.keys()).collect();
        for name in names {
            let [was, is] = [old, new].map(|definition| definition.events.get(name).map(event));
            difference.note(None, &format!("event {name}"), was, is);
        }
        for (from, was) in &old.states {
            let to = new_name(from);
            if let Some(is) = new.states.get(&to) {
                difference.compare_states(&to, was, is);
            }
        }
        difference
    }

    /// Whether nothing differs that could make a difference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn compare_states(&mut self, name: &StateName, was: &State, is: &State) {
        let kind = |state: &State| Some(format!("{:?}", state.kind).to_lowercase());
        self.note(Some(name), "kind", kind(was), kind(is));
        let entry = |state: &State| some(operations(&state.entry));
        self.note(Some(name), "entry", entry(was), entry(is));
        let invoke = |state: &State| some(state.invoke.iter().map(invoked).collect::<Vec<_>>().join(", "));
        self.note(Some(name), "invoke", invoke(was), invoke(is));
        let timeout = |state: &State| state.timeout.as_ref().map(timeout);
        self.note(Some(name), "timeout", timeout(was), timeout(is));
        self.note(Some(name), "always", some(transitions(&was.always)), some(transitions(&is.always)));
        let events: BTreeSet<_> = was.on.keys().chain(is.on.keys()).collect();
        for event in events {
            let [was, is] = [was, is].map(|state| state.on.get(event).map(|all| transitions(all)));
            self.note(Some(name), &format!("on {event}"), was, is);
        }
    }

    fn note(&mut self, state: Option<&StateName>, what: &str, was: Option<String>, is: Option<String>) {
        if was != is {
            self.changed.push(Change { state: state.cloned(), what: what.to_owned(), was, is });
        }
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn event(event: &Event) -> String {
    let from: Vec<String> = event.from.iter().map(|source| format!("{source:?}").to_lowercase()).collect();
    let args: Vec<&str> = event.args.iter().map(String::as_str).collect();
    let args = if args.is_empty() { String::new() } else { format!(", args: [{}]", args.join(", ")) };
    format!("from: {}{args}", from.join(", "))
}

fn invoked(invoke: &Invoke) -> String {
    let limit = invoke.limit.map(|limit| format!(", limit: {}", humantime::format_duration(limit)));
    let with = (!invoke.with.is_empty()).then(|| format!(", with: {}", serde_json::json!(invoke.with)));
    format!("{}{}{}", invoke.action, limit.unwrap_or_default(), with.unwrap_or_default())
}

fn timeout(timeout: &Timeout) -> String {
    let Timeout { due, target, limit, keeps_actions } = timeout;
    let limit = limit.as_ref().map(|limit| {
        format!(", limit: {} (counted as {}), exceeded: {}", limit.most, limit.counter, limit.exceeded)
    });
    let keep = if *keeps_actions { ", keep: actions" } else { "" };
    format!("{due}, target: {target}{}{keep}", limit.unwrap_or_default())
}

fn transitions(all: &[Transition]) -> String {
    all.iter().map(transition).collect::<Vec<_>>().join("; ")
}

fn transition(transition: &Transition) -> String {
    let mut parts = Vec::new();
    parts.extend(transition.guard.as_ref().map(|guard| format!("if {}", guard.text())));
    let (done, end) = match &transition.effect {
        TransitionEffect::Move { operations: done, target } => (operations(done), target.to_string()),
        TransitionEffect::Stay { operations: done } => (operations(done), "stay".to_owned()),
        TransitionEffect::Refuse { reason } => (String::new(), format!("refuse: {reason}")),
    };
    parts.extend(some(done).map(|done| format!("do {done}")));
    parts.push(end);
    parts.join(", ")
}

fn operations(all: &[Operation]) -> String {
    all.iter().map(operation).collect::<Vec<_>>().join(" and ")
}

fn operation(operation: &Operation) -> String {
    match operation {
        Operation::ClearCounters => "clear counters".to_owned(),
        Operation::Clear(counter) => format!("clear {counter}"),
        Operation::Count(counter) => format!("count {counter}"),
        Operation::Set(settings) => {
            let one = |(key, setting): (&String, &Setting)| match setting {
                Setting::Value(value) => format!("{key} = {value}"),
                Setting::Argument(name) => format!("{key} = $args.{name}"),
                Setting::Datum(name) => format!("{key} = $data.{name}"),
            };
            format!("set {}", settings.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Operation::Unset(keys) => format!("unset {}", keys.join(", ")),
    }
}

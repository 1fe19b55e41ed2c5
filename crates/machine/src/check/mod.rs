//! From a definition's text to a checked [`Definition`]: everything that is wrong is found at once.
//!
//! First the text is read; what cannot be made sense of would make nonsense of proofs, so it is told alone. Then what
//! the definition's graph of states shows is proved ([`proofs`]).

mod known;
mod operation;
mod places;
mod proofs;
mod senders;
mod state;
mod transition;

use std::collections::{BTreeMap, BTreeSet};

use super::definition::{Definition, Event, Kind, State, Transition, TransitionEffect};
use super::fault::{Collector, Fault, Faults, Position};
use super::foreign;
use super::guard::Guard;
use super::names::{BadName, CounterName, EventName, StateName};
use super::prediction::Question;
use super::rule::Rule;
use super::source::{self, Content, Fields, Node};
use super::vocabulary::{ActionCatalogue, Vocabulary};
use known::Known;
use places::Places;

/// A definition's text, checked.
#[derive(Debug)]
pub struct Checked {
    /// The definition, if nothing is wrong with it.
    pub definition: Option<Definition>,
    /// What is wrong with the text or merely odd, in its order: a hundred errors and a hundred warnings at most.
    pub faults: Vec<Fault>,
}

/// Checks a definition's text against every [`Rule`]; `vocabulary` is what it may name besides its own.
#[must_use]
pub fn check(text: &str, vocabulary: &Vocabulary) -> Checked {
    let mut faults = Collector::default();
    let root = source::read(text, &mut faults);
    if let Some(message) = foreign::describe(text, root.as_ref()) {
        // What else is wrong with it is nothing that its author did.
        let mut faults = Collector::default();
        faults.add(Position { line: 1, column: 1 }, Rule::Form, message);
        return Checked { definition: None, faults: faults.finish() };
    }
    let definition = root.as_ref().and_then(|root| read(root, vocabulary, &mut faults));
    if let (Some(root), Some(definition), false) = (&root, &definition, faults.has_errors()) {
        proofs::prove(definition, &Places::new(root), &mut faults);
    }
    Checked { definition: definition.filter(|_| !faults.has_errors()), faults: faults.finish() }
}

/// Reads a definition with which nothing is wrong; `vocabulary` is what it may name besides its own.
///
/// # Errors
///
/// [`Faults`], with every error in the text, each with its line and column.
pub fn load(text: &str, vocabulary: &Vocabulary) -> Result<Definition, Faults> {
    let Checked { definition, faults } = check(text, vocabulary);
    definition.ok_or_else(|| Faults(faults.into_iter().filter(Fault::is_error).collect()))
}

/// Reads a definition and proves nothing of it: for tests of what decides, which has to work for any.
#[cfg(test)]
pub(super) fn load_unproved(text: &str, vocabulary: &Vocabulary) -> Result<Definition, Faults> {
    let mut faults = Collector::default();
    let root = source::read(text, &mut faults);
    let definition = root.and_then(|root| read(&root, vocabulary, &mut faults));
    let definition = definition.filter(|_| !faults.has_errors());
    definition.ok_or_else(|| Faults(faults.finish()))
}

/// The most states: what is proved of each way through them is to be proved soon, also of what somebody sends to a server.
const MAX_STATES: usize = 5000;
/// The most transitions that groups may write into their members in all, for the same reason.
const MAX_WRITTEN: usize = 50_000;
/// How many states of a circle are named.
const MOST_NAMED: usize = 20;

/// Makes sense of a text that is YAML.
fn read(root: &Node, vocabulary: &Vocabulary, faults: &mut Collector) -> Option<Definition> {
    let keys = ["machine", "initial", "renamed", "counters", "events", "groups", "states"];
    let fields = root.fields("a machine definition", &keys, faults);
    if !matches!(root.content, Content::Map(_) | Content::Null) {
        return None;
    }
    let machine = required(root, fields, "machine", faults).and_then(|node| name(node, "a machine", faults));
    let states = required(root, fields, "states", faults);
    let initial = required(root, fields, "initial", faults);
    let states = states.map_or(&[][..], |node| node.entries("a mapping of states", faults));
    if states.is_empty() {
        // Without states every reference would be a fault, and none of them the author's.
        if let Some(node) =
            fields.get("states").filter(|node| matches!(node.content, Content::Map(_) | Content::Null))
        {
            faults.add(node.at, Rule::Form, "a machine has at least one state");
        }
        return None;
    }

    if states.len() > MAX_STATES {
        let message = format!("{} states are too many: a machine has at most {MAX_STATES}", states.len());
        faults.add(root.at, Rule::Form, message);
        return None;
    }

    let mut known = Known::collect(states, fields.get("groups"), vocabulary);
    if let Some(node) = fields.get("events") {
        declare_events(node, vocabulary, &mut known, faults);
    }
    let initial = initial.and_then(|node| known.state(node, "state", faults));

    let mut checked = BTreeMap::new();
    for (key, node) in states {
        let state = state::check(key, node, &known, faults);
        if let Some(name) = faults_of(key.at, StateName::new(&key.text), faults) {
            checked.insert(name, state);
        }
    }
    if let Some(node) = fields.get("groups") {
        write_groups(node, &mut checked, &known, faults);
    }
    refuse_equal_labels(states, &checked, faults);
    refuse_circles(states, &checked, faults);
    let renamed = fields.get("renamed").map(|node| renamed(node, &known, faults)).unwrap_or_default();
    let beginnings = fields.get("counters").map(|node| beginnings(node, &known, faults)).unwrap_or_default();
    let Known { events, counters, .. } = known;
    Some(Definition {
        machine: machine?,
        initial: initial?,
        events,
        counters,
        beginnings,
        facts: vocabulary.facts().to_vec(),
        questions: questions(&checked),
        reads_facts_on_entry: checked.values().flat_map(|state| &state.always).any(Transition::reads_facts),
        states: checked,
        renamed,
    })
}

/// What conditions ask models when an event comes, in whichever state.
fn questions(states: &BTreeMap<StateName, State>) -> BTreeMap<EventName, BTreeSet<Question>> {
    let mut questions: BTreeMap<EventName, BTreeSet<Question>> = BTreeMap::new();
    for (event, transitions) in states.values().flat_map(|state| &state.on) {
        let guards = transitions.iter().filter_map(|transition| transition.guard.as_ref());
        for question in guards.flat_map(Guard::questions) {
            questions.entry(event.clone()).or_default().insert(question.clone());
        }
    }
    questions
}

/// The value of `key`, which must be there.
fn required<'a>(parent: &Node, fields: Fields<'a>, key: &str, faults: &mut Collector) -> Option<&'a Node> {
    let node = fields.get(key);
    if node.is_none() {
        faults.add(parent.at, Rule::Form, format!("`{key}` is missing"));
    }
    node
}

/// The value, or a note of why `text` is no name.
fn faults_of<T>(at: Position, name: Result<T, BadName>, faults: &mut Collector) -> Option<T> {
    name.inspect_err(|bad| faults.add(at, Rule::Name, bad.to_string())).ok()
}

/// The name that `node` is.
fn name<T: TryFrom<String, Error = BadName>>(node: &Node, kind: &str, faults: &mut Collector) -> Option<T> {
    let text = node.text(&format!("the name of {kind}"), faults)?;
    faults_of(node.at, T::try_from(text.to_owned()), faults)
}

/// The line for people, or nothing.
fn about(fields: Fields<'_>, faults: &mut Collector) -> String {
    let text = fields.get("about").and_then(|node| node.text("a line for people", faults));
    text.unwrap_or_default().trim().to_owned()
}

fn declare_events(node: &Node, vocabulary: &Vocabulary, known: &mut Known<'_>, faults: &mut Collector) {
    for (key, node) in node.entries("a mapping of events", faults) {
        let fields = node.fields("an event", &["from", "args", "about"], faults);
        if let Some(action) = outcome_of(&key.text, vocabulary.actions()) {
            let message =
                format!("`{}` is what action `{action}` ends in: it needs no declaration", key.text);
            faults.add(key.at, Rule::Form, message);
            continue;
        }
        let mut event = Event { from: BTreeSet::new(), args: BTreeSet::new(), about: about(fields, faults) };
        let senders = fields.get("from").map_or(&[][..], Node::one_or_many);
        if senders.is_empty() {
            let known = senders::choice(vocabulary, "`from: ", "`");
            faults.add(key.at, Rule::Form, format!("say who may send this event: {known}"));
        }
        event.from.extend(senders.iter().filter_map(|node| senders::check(node, vocabulary, faults)));
        for argument in fields.get("args").map_or(&[][..], Node::one_or_many) {
            event.args.extend(argument.text("the name of an argument", faults).map(str::to_owned));
        }
        if let Some(name) = faults_of(key.at, EventName::new(&key.text), faults) {
            known.events.insert(name, event);
        }
    }
}

/// The action of `actions` that ends in the event `event`.
fn outcome_of<'a>(event: &'a str, actions: &dyn ActionCatalogue) -> Option<&'a str> {
    let action = event.strip_suffix("-ok").or_else(|| event.strip_suffix("-failed"))?;
    actions.contains(action).then_some(action)
}

/// Where counters begin that do not begin at zero.
fn beginnings(node: &Node, known: &Known<'_>, faults: &mut Collector) -> BTreeMap<CounterName, i64> {
    let mut beginnings = BTreeMap::new();
    for (key, node) in node.entries("a mapping from counters to where they begin", faults) {
        let Some(counter) = known.counters.get(key.text.as_str()) else {
            let counters = known.counters.iter().map(CounterName::as_str);
            faults.add_unknown(key.at, Rule::UnknownCounter, "counter", &key.text, counters);
            continue;
        };
        let begins = match &node.content {
            Content::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            Content::Null | Content::Bool(_) | Content::Text(_) | Content::List(_) | Content::Map(_) => None,
        };
        match begins {
            Some(begins) => _ = beginnings.insert(counter.clone(), i64::from(begins)),
            None => {
                faults.add(node.at, Rule::Form, "a counter begins at a whole number from 0 to 4294967295");
            }
        }
    }
    beginnings
}

/// What states of earlier versions are called now.
fn renamed(node: &Node, known: &Known<'_>, faults: &mut Collector) -> BTreeMap<StateName, StateName> {
    let mut renamed = BTreeMap::new();
    for (key, node) in node.entries("a mapping from old names of states to new ones", faults) {
        let new = known.state(node, "state", faults);
        if known.has_state(&key.text) {
            let message = format!("`{}` is a state of this version: it cannot be an old name too", key.text);
            faults.add(key.at, Rule::Form, message);
        }
        if let (Some(old), Some(new)) = (faults_of(key.at, StateName::new(&key.text), faults), new) {
            renamed.insert(old, new);
        }
    }
    renamed
}

/// Writes what groups share into their members.
fn write_groups(
    node: &Node,
    states: &mut BTreeMap<StateName, State>,
    known: &Known<'_>,
    faults: &mut Collector,
) {
    let own: BTreeMap<StateName, BTreeSet<EventName>> = states
        .iter()
        .map(|(name, state)| {
            // What is left to the deadline is the state's own word too.
            (name.clone(), state.on.keys().chain(&state.left_to_deadline).cloned().collect())
        })
        .collect();
    let mut givers: BTreeMap<(StateName, EventName), &str> = BTreeMap::new();
    let mut written = 0_usize;
    for (key, node) in node.entries("a mapping of groups", faults) {
        let fields = node.fields("a group of states", &["states", "resting", "on"], faults);
        let is_resting = fields.get("resting").is_some_and(|node| state::yes(node, faults));
        let patterns = required(node, fields, "states", faults).map_or(&[][..], Node::one_or_many);
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
                && state.kind == Kind::Working
            {
                state.kind = Kind::Resting;
            }
        }
        let on = match fields.get("on") {
            None if is_resting => continue,
            _ => required(node, fields, "on", faults),
        };
        let Some(on) = on else { continue };
        for (at, event, transitions) in transition::check_on(on, known, faults) {
            written += members.len() * transitions.len();
            if written > MAX_WRITTEN {
                let message = format!(
                    "the groups write more than {MAX_WRITTEN} transitions into their members: that is too many"
                );
                faults.add(at, Rule::Form, message);
                return;
            }
            for member in &members {
                if own.get(member).is_some_and(|events| events.contains(&event)) {
                    continue;
                }
                if let Some(other) = givers.insert((member.clone(), event.clone()), &key.text) {
                    let message = format!(
                        "state `{member}` has `{event}` from group `{other}` too; say in the state which it is"
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

/// The states that `pattern`, a name or a beginning followed by `*`, stands for.
fn matching<T>(pattern: &str, states: &BTreeMap<StateName, T>) -> Vec<StateName> {
    match pattern.strip_suffix('*') {
        Some(prefix) => states.keys().filter(|name| name.as_str().starts_with(prefix)).cloned().collect(),
        None => states.get_key_value(pattern).map(|(name, _)| name.clone()).into_iter().collect(),
    }
}

/// Refuses two states that others would call the same.
fn refuse_equal_labels(
    written: &[(source::Key, Node)],
    states: &BTreeMap<StateName, State>,
    faults: &mut Collector,
) {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, _) in written {
        let label = states.get(key.text.as_str()).and_then(|state| state.label.as_deref());
        let label = label.unwrap_or(&key.text);
        if let Some(other) = taken.insert(label, &key.text).filter(|other| *other != key.text) {
            let message = format!("`{}` and `{other}` are both called {label:?}", key.text);
            faults.add(key.at, Rule::Form, message);
        }
    }
}

/// Refuses `always` transitions that lead in a circle, so that entering a state comes to an end.
fn refuse_circles(
    written: &[(source::Key, Node)],
    states: &BTreeMap<StateName, State>,
    faults: &mut Collector,
) {
    let mut done: BTreeSet<&StateName> = BTreeSet::new();
    for start in states.keys() {
        // Depth first, without recursion: each step is a state and those of its targets that are still to follow.
        let mut path = vec![(start, next_states(start, states))];
        while let Some((state, targets)) = path.last_mut() {
            let state = *state;
            match targets.pop() {
                Some(target) if done.contains(target) => {}
                Some(target) => match path.iter().position(|(on_path, _)| *on_path == target) {
                    Some(first) => {
                        let circle = path[first..].iter().map(|(name, _)| name.as_str());
                        let mut named: Vec<&str> = circle.take(MOST_NAMED).collect();
                        if path.len() - first > MOST_NAMED {
                            named.push("…");
                        }
                        let message = format!("`always` leads in a circle: {} → {target}", named.join(" → "));
                        let key = written.iter().find(|(key, _)| key.text == target.as_str());
                        faults.add(
                            key.map_or_else(Position::default, |(key, _)| key.at),
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

#[cfg(test)]
mod tests;

//! Reads a StateService file: what each state waits for, and where that leads.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use machine::Rule;
use machine::text::{Collector, Content, Node, Position};

use super::count::{MAX_ADDED, number, puts};
use super::note::{Note, note};

/// The most states: as many as a definition of ours has.
const MAX_STATES: usize = 5000;
/// The longest name, in characters.
const MAX_NAME: usize = 200;
/// What a file says.
pub(super) struct States {
    /// The state to begin in.
    pub(super) current: String,
    /// The states, in the order of the file.
    pub(super) states: Vec<Declared>,
}

/// A state, as it is declared.
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) at: Position,
    pub(super) step: Step,
}

/// What a state waits for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Nothing: it is the end.
    End,
    /// So many PUTs: a counter that begins somewhere, and is so much before the last of them; nothing where no number of them
    /// is enough.
    Count { begins: u32, before: Option<u64>, target: String },
    /// A moment.
    Time { at: DateTime<Utc>, target: String },
}

impl Step {
    /// Where it leads, if it ever does.
    pub(super) fn target(&self) -> Option<&str> {
        match self {
            Self::Count { before: Some(_), target, .. } | Self::Time { target, .. } => Some(target),
            Self::Count { before: None, .. } | Self::End => None,
        }
    }
}

type Local<'a> = &'a dyn Fn(NaiveDateTime) -> DateTime<Utc>;

/// Reads the file; nothing where it cannot be made sense of.
pub(super) fn read(
    root: &Node,
    local: Local<'_>,
    faults: &mut Collector,
    notes: &mut Vec<Note>,
) -> Option<States> {
    if !matches!(root.content, Content::Map(_)) {
        root.refuse("a mapping with `current_state` and `states`", faults);
        return None;
    }
    root.entries("a mapping", faults);
    note_unknown(root, &["current_state", "states"], notes);
    let mut states = read_all(root, local, faults, notes)?;
    drop_repeated(&mut states, notes);
    let names: BTreeMap<&str, &Declared> = states.iter().map(|one| (one.name.as_str(), one)).collect();
    let current = child(root, "current_state", faults).and_then(|node| {
        let current = name(node, faults)?;
        if !names.contains_key(current) {
            faults.add_unknown(node.at, Rule::UnknownTarget, "state", current, names.keys().copied());
        }
        Some(current.to_owned())
    });
    refuse_circles(&names, faults);
    Some(States { current: current?, states })
}

fn read_all(
    root: &Node,
    local: Local<'_>,
    faults: &mut Collector,
    notes: &mut Vec<Note>,
) -> Option<Vec<Declared>> {
    let node = child(root, "states", faults)?;
    let Content::List(elements) = &node.content else {
        node.refuse("a list of states", faults);
        return None;
    };
    if elements.is_empty() || elements.len() > MAX_STATES {
        let message = format!("a machine has from 1 to {MAX_STATES} states, and this one {}", elements.len());
        faults.add(node.at, Rule::Form, message);
        return None;
    }
    let names: Vec<&str> = elements.iter().filter_map(name_of).collect();
    let read = elements.iter().map(|element| read_one(element, &names, local, faults, notes));
    // All are read, so that all faults are found.
    let read: Vec<Option<Declared>> = read.collect();
    read.into_iter().collect()
}

fn name_of(element: &Node) -> Option<&str> {
    match &element.child("name")?.1.content {
        Content::Text(name) => Some(name),
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::List(_) | Content::Map(_) => None,
    }
}

fn read_one(
    element: &Node,
    names: &[&str],
    local: Local<'_>,
    faults: &mut Collector,
    notes: &mut Vec<Note>,
) -> Option<Declared> {
    if !matches!(element.content, Content::Map(_)) {
        element.refuse("a state: a mapping with a `name`", faults);
        return None;
    }
    element.entries("a state", faults);
    note_unknown(element, &["name", "func", "current", "target"], notes);
    let name = child(element, "name", faults).and_then(|node| name(node, faults));
    let step = match element.child("func") {
        None => {
            for key in ["current", "target"] {
                if let Some((key, _)) = element.child(key) {
                    let message =
                        format!("a state without `func` is an end: its `{}` does nothing", key.text);
                    note(notes, key.at, message);
                }
            }
            Some(Step::End)
        }
        Some((_, func)) => match &func.content {
            Content::Text(word) if word == "increment" => count(element, names, faults, notes),
            Content::Text(word) if word == "time" => time(element, names, local, faults, notes),
            Content::Text(other) => {
                faults.add_unknown(func.at, Rule::Form, "func", other, ["increment", "time"]);
                None
            }
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::List(_) | Content::Map(_) => {
                func.refuse("`increment` or `time`; a state that is an end has no `func` at all", faults);
                None
            }
        },
    };
    Some(Declared { name: name?.to_owned(), at: element.at, step: step? })
}

fn count(element: &Node, names: &[&str], faults: &mut Collector, notes: &mut Vec<Note>) -> Option<Step> {
    let current = child(element, "current", faults).and_then(|node| value(node, "current", notes, faults));
    let from = current.and_then(|node| number(node, faults));
    let (target, when) = target(element, names, faults, notes)?;
    let until = number(when, faults)?;
    let from = from?;
    let Ok(enough) = puts(&from, &until) else {
        let message = format!("from {from} to {until} is too far: it takes more than {MAX_ADDED} steps");
        faults.add(when.at, Rule::Form, message);
        return None;
    };
    if enough.is_none() {
        let message =
            format!("counting from {from} by ones never comes to {until}: this state is never left");
        note(notes, when.at, message);
    }
    // A counter of ours holds no fraction, and nothing below zero: then it counts the PUTs.
    let begins = from.as_u64().and_then(|from| u32::try_from(from).ok()).unwrap_or(0);
    let before = enough.map(|enough| u64::from(begins) + (enough - 1));
    Some(Step::Count { begins, before, target: target.to_owned() })
}

fn time(
    element: &Node,
    names: &[&str],
    local: Local<'_>,
    faults: &mut Collector,
    notes: &mut Vec<Note>,
) -> Option<Step> {
    let (target, when) = target(element, names, faults, notes)?;
    let text = when.text("a time such as '3000-01-01T12:00:00'", faults)?;
    let wall = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").map(local);
    let at = wall.or_else(|_| DateTime::parse_from_rfc3339(text).map(|at| at.with_timezone(&Utc)));
    // Years of four digits, as the original takes; the very last hours of them may be in the next year elsewhere.
    if let Some(at) = at.ok().filter(|at| (0..=10_000).contains(&at.year())) {
        return Some(Step::Time { at: at.clamp(first(), last()), target: target.to_owned() });
    }
    let message = format!(
        "bad time `{text}`; write it like '3000-01-01T12:00:00', by this server's clock, \
         or like '3000-01-01T12:00:00+01:00'"
    );
    faults.add(when.at, Rule::Form, message);
    None
}

/// The first moment that a definition can name.
fn first() -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN).and_utc()
}

/// The last second that a definition can name.
fn last() -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(10_000, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN).and_utc()
        - TimeDelta::seconds(1)
}

/// Where the state leads, and the value that says when.
fn target<'a>(
    element: &'a Node,
    names: &[&str],
    faults: &mut Collector,
    notes: &mut Vec<Note>,
) -> Option<(&'a str, &'a Node)> {
    let target = child(element, "target", faults)?;
    if !matches!(target.content, Content::Map(_)) {
        target.refuse("a target: a mapping with `name` and `when`", faults);
        return None;
    }
    target.entries("a target", faults);
    note_unknown(target, &["name", "when"], notes);
    let to = child(target, "name", faults).and_then(|node| {
        let to = name(node, faults)?;
        if !names.contains(&to) {
            faults.add_unknown(node.at, Rule::UnknownTarget, "target", to, names.iter().copied());
        }
        Some(to)
    });
    let when = child(target, "when", faults).and_then(|node| value(node, "when", notes, faults));
    Some((to?, when?))
}

/// The `value` beside a `key`, of which StateService takes no notice.
fn value<'a>(node: &'a Node, what: &str, notes: &mut Vec<Note>, faults: &mut Collector) -> Option<&'a Node> {
    if !matches!(node.content, Content::Map(_)) {
        node.refuse(&format!("`{what}`: a mapping with `key` and `value`"), faults);
        return None;
    }
    node.entries("a mapping", faults);
    note_unknown(node, &["key", "value"], notes);
    child(node, "value", faults)
}

/// The value of `key`, which must be there.
fn child<'a>(parent: &'a Node, key: &str, faults: &mut Collector) -> Option<&'a Node> {
    let child = parent.child(key).map(|(_, node)| node);
    if child.is_none() {
        faults.add(parent.at, Rule::Form, format!("`{key}` is missing"));
    }
    child
}

fn name<'a>(node: &'a Node, faults: &mut Collector) -> Option<&'a str> {
    let text =
        node.text("the name of a state, in quotes where YAML would take it for something else", faults)?;
    if text.chars().count() > MAX_NAME || text.chars().any(char::is_control) {
        let message = format!("a name has at most {MAX_NAME} characters, and no control characters");
        faults.add(node.at, Rule::Name, message);
        return None;
    }
    Some(text)
}

fn note_unknown(node: &Node, known: &[&str], notes: &mut Vec<Note>) {
    let Content::Map(entries) = &node.content else { return };
    for (key, _) in entries {
        if !known.contains(&key.text.as_str()) {
            note(notes, key.at, format!("`{}` does nothing; what does is {}", key.text, known.join(", ")));
        }
    }
}

/// Leaves out the states that are declared again further down: the last one counts.
fn drop_repeated(states: &mut Vec<Declared>, notes: &mut Vec<Note>) {
    let last: BTreeMap<String, usize> =
        states.iter().enumerate().map(|(index, one)| (one.name.clone(), index)).collect();
    let mut index = 0;
    states.retain(|one| {
        let is_last = last.get(&one.name) == Some(&index);
        index += 1;
        if !is_last {
            note(notes, one.at, format!("`{}` is declared again further down, and that counts", one.name));
        }
        is_last
    });
}

/// Refuses states that only time moves and that lead in a circle: once all their times are past they would chase one
/// another for ever.
fn refuse_circles(states: &BTreeMap<&str, &Declared>, faults: &mut Collector) {
    let next = |name: &str| match states.get(name).map(|one| &one.step) {
        Some(Step::Time { target, .. }) => Some(target.as_str()),
        Some(Step::Count { .. } | Step::End) | None => None,
    };
    // Each state has one way out, so a walk that is longer than there are states is in a circle.
    let mut known = BTreeSet::new();
    for start in states.keys() {
        let (mut path, mut at) = (vec![*start], *start);
        while let Some(to) = next(at).filter(|to| !known.contains(to)) {
            if let Some(first) = path.iter().position(|on_path| *on_path == to) {
                let circle = path[first..].join(" → ");
                let place = states.get(to).map(|one| one.at).unwrap_or_default();
                let message =
                    format!("these states follow one another for ever, by time alone: {circle} → {to}");
                faults.add(place, Rule::EndlessLoop, message);
                break;
            }
            path.push(to);
            at = to;
        }
        known.extend(path);
    }
}

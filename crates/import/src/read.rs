//! Reads a StateService file: what each state waits for, and its target.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use machine::Rule;
use machine::source_text::{FaultCollector, SourceContent, SourceNode, SourcePosition};

use super::count::{MAX_ADDITIONS, additions_needed, number};
use super::note::{ImportNote, note};

/// Maximum number of states, that of machine definitions.
const MAX_STATES: usize = 5000;
/// Maximum length of a name, in characters.
const MAX_LABEL_CHARS: usize = 200;

/// The contents of a file.
pub(super) struct StateServiceFile {
    /// The initial state.
    pub(super) current: String,
    /// The states, in the order of the file.
    pub(super) states: Vec<DeclaredState>,
}

/// A declared state.
pub(super) struct DeclaredState {
    pub(super) name: String,
    pub(super) at: SourcePosition,
    pub(super) waits_for: WaitCondition,
}

/// What a state waits for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WaitCondition {
    /// Nothing: the state is final.
    End,
    /// PUT requests: a counter with its initial value and its value before the last request; `before` is `None` where no
    /// number of requests suffices.
    Count { begins: u32, before: Option<u64>, target: String },
    /// A time.
    Time { at: DateTime<Utc>, target: String },
}

impl WaitCondition {
    /// The target, if it can be reached.
    pub(super) fn target(&self) -> Option<&str> {
        match self {
            Self::Count { before: Some(_), target, .. } | Self::Time { target, .. } => Some(target),
            Self::Count { before: None, .. } | Self::End => None,
        }
    }
}

type LocalTimeResolver<'a> = &'a dyn Fn(NaiveDateTime) -> DateTime<Utc>;

/// Reads the file; `None` where faults were found that prevent it.
pub(super) fn read(
    root: &SourceNode,
    local: LocalTimeResolver<'_>,
    faults: &mut FaultCollector,
    notes: &mut Vec<ImportNote>,
) -> Option<StateServiceFile> {
    if !matches!(root.content, SourceContent::Map(_)) {
        root.refuse("a mapping with `current_state` and `states`", faults);
        return None;
    }
    root.entries("a mapping", faults);
    note_unknown(root, &["current_state", "states"], notes);
    let mut states = read_all(root, local, faults, notes)?;
    drop_repeated(&mut states, notes);
    let names: BTreeMap<&str, &DeclaredState> =
        states.iter().map(|state| (state.name.as_str(), state)).collect();
    let current = child(root, "current_state", faults).and_then(|node| {
        let current = name(node, faults)?;
        if !names.contains_key(current) {
            faults.add_unknown(node.at, Rule::UnknownTarget, "state", current, names.keys().copied());
        }
        Some(current.to_owned())
    });
    refuse_cycles(&names, faults);
    Some(StateServiceFile { current: current?, states })
}

fn read_all(
    root: &SourceNode,
    local: LocalTimeResolver<'_>,
    faults: &mut FaultCollector,
    notes: &mut Vec<ImportNote>,
) -> Option<Vec<DeclaredState>> {
    let node = child(root, "states", faults)?;
    let SourceContent::List(elements) = &node.content else {
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
    // Reads all states, so that all faults are found.
    let read: Vec<Option<DeclaredState>> = read.collect();
    read.into_iter().collect()
}

fn name_of(element: &SourceNode) -> Option<&str> {
    match &element.child("name")?.1.content {
        SourceContent::Text(name) => Some(name),
        SourceContent::Null
        | SourceContent::Bool(_)
        | SourceContent::Number(_)
        | SourceContent::List(_)
        | SourceContent::Map(_) => None,
    }
}

fn read_one(
    element: &SourceNode,
    names: &[&str],
    local: LocalTimeResolver<'_>,
    faults: &mut FaultCollector,
    notes: &mut Vec<ImportNote>,
) -> Option<DeclaredState> {
    if !matches!(element.content, SourceContent::Map(_)) {
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
                        format!("a state without `func` is an end: its `{}` has no effect", key.text);
                    note(notes, key.at, message);
                }
            }
            Some(WaitCondition::End)
        }
        Some((_, func)) => match &func.content {
            SourceContent::Text(word) if word == "increment" => count(element, names, faults, notes),
            SourceContent::Text(word) if word == "time" => time(element, names, local, faults, notes),
            SourceContent::Text(other) => {
                faults.add_unknown(func.at, Rule::Form, "func", other, ["increment", "time"]);
                None
            }
            SourceContent::Null
            | SourceContent::Bool(_)
            | SourceContent::Number(_)
            | SourceContent::List(_)
            | SourceContent::Map(_) => {
                func.refuse("`increment` or `time`; a state that is an end has no `func` at all", faults);
                None
            }
        },
    };
    Some(DeclaredState { name: name?.to_owned(), at: element.at, waits_for: step? })
}

fn count(
    element: &SourceNode,
    names: &[&str],
    faults: &mut FaultCollector,
    notes: &mut Vec<ImportNote>,
) -> Option<WaitCondition> {
    let current = child(element, "current", faults).and_then(|node| value(node, "current", notes, faults));
    let from = current.and_then(|node| number(node, faults));
    let (target, when) = target(element, names, faults, notes)?;
    let until = number(when, faults)?;
    let from = from?;
    let Ok(additions) = additions_needed(&from, &until) else {
        let message = format!("from {from} to {until} is too far: it takes more than {MAX_ADDITIONS} steps");
        faults.add(when.at, Rule::Form, message);
        return None;
    };
    if additions.is_none() {
        let message =
            format!("counting from {from} by ones never comes to {until}: this state is never left");
        note(notes, when.at, message);
    }
    // Counters hold neither fractions nor negative numbers; for those, the counter counts the requests from zero.
    let begins = from.as_u64().and_then(|from| u32::try_from(from).ok()).unwrap_or(0);
    let before = additions.map(|additions| u64::from(begins) + (additions - 1));
    Some(WaitCondition::Count { begins, before, target: target.to_owned() })
}

fn time(
    element: &SourceNode,
    names: &[&str],
    local: LocalTimeResolver<'_>,
    faults: &mut FaultCollector,
    notes: &mut Vec<ImportNote>,
) -> Option<WaitCondition> {
    let (target, when) = target(element, names, faults, notes)?;
    let text = when.text("a time such as '3000-01-01T12:00:00'", faults)?;
    let local_time = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").map(local);
    let at = local_time.or_else(|_| DateTime::parse_from_rfc3339(text).map(|at| at.with_timezone(&Utc)));
    // Years have four digits, as in StateService; with an offset, the last hours can fall into year 10000.
    if let Some(at) = at.ok().filter(|at| (0..=10_000).contains(&at.year())) {
        return Some(WaitCondition::Time { at: at.clamp(first(), last()), target: target.to_owned() });
    }
    let message = format!(
        "bad time `{text}`; write it like '3000-01-01T12:00:00', by this server's clock, \
         or like '3000-01-01T12:00:00+01:00'"
    );
    faults.add(when.at, Rule::Form, message);
    None
}

/// The first time that a definition can name.
fn first() -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN).and_utc()
}

/// The last second that a definition can name.
fn last() -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(10_000, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN).and_utc()
        - TimeDelta::seconds(1)
}

/// The target of a state, and the value that it waits for.
fn target<'a>(
    element: &'a SourceNode,
    names: &[&str],
    faults: &mut FaultCollector,
    notes: &mut Vec<ImportNote>,
) -> Option<(&'a str, &'a SourceNode)> {
    let target = child(element, "target", faults)?;
    if !matches!(target.content, SourceContent::Map(_)) {
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

/// The `value` of a mapping; StateService ignores the `key` beside it.
fn value<'a>(
    node: &'a SourceNode,
    what: &str,
    notes: &mut Vec<ImportNote>,
    faults: &mut FaultCollector,
) -> Option<&'a SourceNode> {
    if !matches!(node.content, SourceContent::Map(_)) {
        node.refuse(&format!("`{what}`: a mapping with `key` and `value`"), faults);
        return None;
    }
    node.entries("a mapping", faults);
    note_unknown(node, &["key", "value"], notes);
    child(node, "value", faults)
}

/// The value of the required `key`.
fn child<'a>(parent: &'a SourceNode, key: &str, faults: &mut FaultCollector) -> Option<&'a SourceNode> {
    let child = parent.child(key).map(|(_, node)| node);
    if child.is_none() {
        faults.add(parent.at, Rule::Form, format!("`{key}` is missing"));
    }
    child
}

fn name<'a>(node: &'a SourceNode, faults: &mut FaultCollector) -> Option<&'a str> {
    let text =
        node.text("the name of a state, in quotes where YAML would take it for something else", faults)?;
    if text.chars().count() > MAX_LABEL_CHARS || text.chars().any(char::is_control) {
        let message = format!("a name has at most {MAX_LABEL_CHARS} characters, and no control characters");
        faults.add(node.at, Rule::Name, message);
        return None;
    }
    Some(text)
}

fn note_unknown(node: &SourceNode, known: &[&str], notes: &mut Vec<ImportNote>) {
    let SourceContent::Map(entries) = &node.content else { return };
    for (key, _) in entries {
        if !known.contains(&key.text.as_str()) {
            note(notes, key.at, format!("`{}` has no effect; known: {}", key.text, known.join(", ")));
        }
    }
}

/// Drops states that are declared again later: the last declaration counts.
fn drop_repeated(states: &mut Vec<DeclaredState>, notes: &mut Vec<ImportNote>) {
    let last: BTreeMap<String, usize> =
        states.iter().enumerate().map(|(index, state)| (state.name.clone(), index)).collect();
    let mut index = 0;
    states.retain(|state| {
        let is_last = last.get(&state.name) == Some(&index);
        index += 1;
        if !is_last {
            note(
                notes,
                state.at,
                format!("`{}` is declared again below; the last declaration counts", state.name),
            );
        }
        is_last
    });
}

/// Refuses cycles of states that only wait for times: once all times have passed, they would follow one another without
/// end.
fn refuse_cycles(states: &BTreeMap<&str, &DeclaredState>, faults: &mut FaultCollector) {
    let next = |name: &str| match states.get(name).map(|state| &state.waits_for) {
        Some(WaitCondition::Time { target, .. }) => Some(target.as_str()),
        Some(WaitCondition::Count { .. } | WaitCondition::End) | None => None,
    };
    // Each state has one target, so following the targets ends, or comes back to a state of the path.
    let mut checked = BTreeSet::new();
    for start in states.keys() {
        let (mut path, mut at) = (vec![*start], *start);
        while let Some(to) = next(at).filter(|to| !checked.contains(to)) {
            if let Some(first) = path.iter().position(|on_path| *on_path == to) {
                let cycle = path[first..].join(" → ");
                let position = states.get(to).map(|state| state.at).unwrap_or_default();
                let message =
                    format!("these states follow one another without end, by time alone: {cycle} → {to}");
                faults.add(position, Rule::EndlessLoop, message);
                break;
            }
            path.push(to);
            at = to;
        }
        checked.extend(path);
    }
}

//! Entries of history in words.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::explain::words::time;
use crate::machine::{Cause, Source, Stimulus};
use crate::store::history::{Entry, Told};

/// How an instance came into the state that `entry` entered.
pub(super) fn arrived(entry: &Entry, now: DateTime<Utc>) -> String {
    let at = time(entry.at, now);
    if matches!(&entry.told, Told::Stimulus(stimulus) if matches!(stimulus.cause, Cause::Created { .. })) {
        return format!("It was registered at {at}{}.", by(entry));
    }
    format!("It came from {} at {at}, when {}.", entry.from, what_happened(entry))
}

/// What happened, in words that follow "when".
#[must_use]
pub fn what_happened(entry: &Entry) -> String {
    let stimulus = match &entry.told {
        Told::Note(note) => return entry.reason.clone().unwrap_or_else(|| note.clone()),
        Told::Unreadable(why) => return unreadable(why),
        Told::Stimulus(stimulus) => stimulus,
    };
    match &stimulus.cause {
        Cause::Created { .. } => format!("it was registered{}", by(entry)),
        Cause::Event { name, source: Source::Face(_), .. } => {
            format!("it reported {name}{}{}", judged(stimulus), remark(entry))
        }
        Cause::Event { name, source: Source::Operator, .. } => {
            format!("an operator{} asked for {name}{}{}", by(entry), judged(stimulus), remark(entry))
        }
        Cause::Event { name, source: Source::Action, .. } => format!("{name} came{}", remark(entry)),
        Cause::Event { name, source: Source::Instance(address), .. } => {
            format!("{address} raised {name}{}", remark(entry))
        }
        Cause::Began { .. } => "its actions began".to_owned(),
        Cause::Suspend { .. } => format!("its action was suspended{}", remark(entry)),
        Cause::Deadline { .. } => "its time had passed".to_owned(),
        Cause::Force { to, reason, .. } => {
            format!("an operator{} moved it to {to} by force: {reason}", by(entry))
        }
    }
}

/// What an entry shows of the world.
pub(super) fn seen(entry: &Entry) -> String {
    let observed = entry.evidence.as_ref().map(values).filter(|values| !values.is_empty());
    match &entry.told {
        Told::Note(note) => entry.reason.clone().unwrap_or_else(|| note.clone()),
        Told::Unreadable(why) => unreadable(why),
        Told::Stimulus(_) => match observed {
            Some(observed) => format!("{} ({observed})", what_happened(entry)),
            None => what_happened(entry),
        },
    }
}

/// An entry that cannot be read.
fn unreadable(why: &str) -> String {
    format!("something happened that this program cannot read: {why}")
}

/// What was observed, each value after its name; what was read back comes first.
#[must_use]
pub fn values(observed: &Map<String, Value>) -> String {
    let text = |value: &Value| match value.as_str() {
        None => value.as_array().map_or_else(|| value.to_string(), |list| list.len().to_string()),
        Some(text) => match DateTime::parse_from_rfc3339(text) {
            Ok(at) => at.to_utc().format("%H:%M:%S%.3f UTC").to_string(),
            Err(_) => text.to_owned(),
        },
    };
    let mut values: Vec<(&str, String)> =
        observed.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    values.sort_by_key(|(name, _)| *name != "observed");
    values.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

/// When what an entry tells was last heard: a note may be told more of than was known when it was begun.
pub(super) fn heard_at(entry: &Entry) -> DateTime<Utc> {
    let said = match &entry.told {
        Told::Note(_) => entry.evidence.as_ref().and_then(|evidence| evidence.get("at")),
        Told::Stimulus(_) | Told::Unreadable(_) => None,
    };
    let said = said.and_then(Value::as_str).and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    said.map_or(entry.at, |at| at.to_utc())
}

/// Who it was, where that is known.
fn by(entry: &Entry) -> String {
    entry.sender.as_ref().map(|sender| format!(" ({sender})")).unwrap_or_default()
}

/// The beginning of a text that may be very long: a report may have many rows.
fn few(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What models said of it.
fn judged(stimulus: &Stimulus) -> String {
    let said =
        stimulus.predicted.iter().map(|(model, state)| format!("{} by {model}", few(&state.to_string())));
    let said: Vec<String> = said.collect();
    if said.is_empty() { String::new() } else { format!(", judged {}", said.join(" and ")) }
}

/// Why something failed or changed nothing.
fn remark(entry: &Entry) -> String {
    let event = match &entry.told {
        Told::Stimulus(stimulus) => match &stimulus.cause {
            Cause::Event { source, args, .. } => Some((source, args)),
            Cause::Created { .. }
            | Cause::Began { .. }
            | Cause::Suspend { .. }
            | Cause::Deadline { .. }
            | Cause::Force { .. } => None,
        },
        Told::Note(_) | Told::Unreadable(_) => None,
    };
    let args = event.and_then(|(_, args)| args.get("reason")?.as_str());
    // What an action says of its end is no word on whether the state takes it.
    let is_action = event.is_some_and(|(source, _)| *source == Source::Action);
    let ignored = if entry.outcome == "ignored" && !is_action { "it changed nothing: " } else { "" };
    match entry.reason.as_deref().or(args) {
        Some(reason) => format!(": {ignored}{reason}"),
        None => String::new(),
    }
}

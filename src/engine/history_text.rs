//! Entries of history in words.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::formatting::time;
use crate::machine::{Cause, EventSource, Stimulus};
use crate::store::history::{HistoryContent, HistoryEntry};

/// How an instance came into the state that `entry` entered.
pub(super) fn describe_arrival(entry: &HistoryEntry, now: DateTime<Utc>) -> String {
    let at = time(entry.at, now);
    if matches!(&entry.content, HistoryContent::Stimulus(stimulus) if matches!(stimulus.cause, Cause::Created { .. }))
    {
        return format!("It was registered at {at}{}.", describe_sender(entry));
    }
    format!("It came from {} at {at}, when {}.", entry.from, describe_cause(entry))
}

/// What happened, in words that follow "when".
#[must_use]
pub fn describe_cause(entry: &HistoryEntry) -> String {
    let stimulus = match &entry.content {
        HistoryContent::Note(note) => return entry.reason.clone().unwrap_or_else(|| note.clone()),
        HistoryContent::Unreadable(why) => return describe_unreadable(why),
        HistoryContent::Stimulus(stimulus) => stimulus,
    };
    match &stimulus.cause {
        Cause::Created { .. } => format!("it was registered{}", describe_sender(entry)),
        Cause::Event { name, source: EventSource::Face(_), .. } => {
            format!("it reported {name}{}{}", describe_predictions(stimulus), describe_reason(entry))
        }
        Cause::Event { name, source: EventSource::Operator, .. } => {
            format!(
                "an operator{} asked for {name}{}{}",
                describe_sender(entry),
                describe_predictions(stimulus),
                describe_reason(entry)
            )
        }
        Cause::Event { name, source: EventSource::Action, .. } => {
            format!("{name} came{}", describe_reason(entry))
        }
        Cause::Event { name, source: EventSource::Instance(address), .. } => {
            format!("{address} raised {name}{}", describe_reason(entry))
        }
        Cause::Began { .. } => "its actions began".to_owned(),
        Cause::Suspend { .. } => format!("its action was suspended{}", describe_reason(entry)),
        Cause::Deadline { .. } => "its time had passed".to_owned(),
        Cause::Force { to, reason, .. } => {
            format!("an operator{} moved it to {to} by force: {reason}", describe_sender(entry))
        }
    }
}

/// What an entry shows of the world.
pub(super) fn describe_evidence(entry: &HistoryEntry) -> String {
    let observed = entry.evidence.as_ref().map(describe_values).filter(|values| !values.is_empty());
    match &entry.content {
        HistoryContent::Note(note) => entry.reason.clone().unwrap_or_else(|| note.clone()),
        HistoryContent::Unreadable(why) => describe_unreadable(why),
        HistoryContent::Stimulus(_) => match observed {
            Some(observed) => format!("{} ({observed})", describe_cause(entry)),
            None => describe_cause(entry),
        },
    }
}

/// An entry that cannot be read.
fn describe_unreadable(why: &str) -> String {
    format!("something happened that this program cannot read: {why}")
}

/// What was observed, each value after its name; what was read back comes first.
#[must_use]
pub fn describe_values(observed: &Map<String, Value>) -> String {
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
pub(super) fn observed_at(entry: &HistoryEntry) -> DateTime<Utc> {
    let said = match &entry.content {
        HistoryContent::Note(_) => entry.evidence.as_ref().and_then(|evidence| evidence.get("at")),
        HistoryContent::Stimulus(_) | HistoryContent::Unreadable(_) => None,
    };
    let said = said.and_then(Value::as_str).and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    said.map_or(entry.at, |at| at.to_utc())
}

/// Who it was, where that is known.
fn describe_sender(entry: &HistoryEntry) -> String {
    entry.sender.as_ref().map(|sender| format!(" ({sender})")).unwrap_or_default()
}

/// The beginning of a text that may be very long: a report may have many rows.
fn shorten(text: &str) -> String {
    const MAX_TEXT_LENGTH: usize = 200;
    match text.char_indices().nth(MAX_TEXT_LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What models said of it.
fn describe_predictions(stimulus: &Stimulus) -> String {
    let said =
        stimulus.predicted.iter().map(|(model, state)| format!("{} by {model}", shorten(&state.to_string())));
    let said: Vec<String> = said.collect();
    if said.is_empty() { String::new() } else { format!(", judged {}", said.join(" and ")) }
}

/// Why something failed or changed nothing.
fn describe_reason(entry: &HistoryEntry) -> String {
    let event = match &entry.content {
        HistoryContent::Stimulus(stimulus) => match &stimulus.cause {
            Cause::Event { source, args, .. } => Some((source, args)),
            Cause::Created { .. }
            | Cause::Began { .. }
            | Cause::Suspend { .. }
            | Cause::Deadline { .. }
            | Cause::Force { .. } => None,
        },
        HistoryContent::Note(_) | HistoryContent::Unreadable(_) => None,
    };
    let args = event.and_then(|(_, args)| args.get("reason")?.as_str());
    // What an action says of its end is no word on whether the state takes it.
    let is_action = event.is_some_and(|(source, _)| *source == EventSource::Action);
    let ignored = if entry.outcome == "ignored" && !is_action { "it changed nothing: " } else { "" };
    match entry.reason.as_deref().or(args) {
        Some(reason) => format!(": {ignored}{reason}"),
        None => String::new(),
    }
}

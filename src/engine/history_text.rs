//! Entries of history in sentences.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::formatting::time;
use crate::machine::{Cause, EventSource, Stimulus};
use crate::store::history::{HistoryContent, HistoryEntry};

/// Describes how an instance entered the state of `entry`.
pub(super) fn describe_arrival(entry: &HistoryEntry, now: DateTime<Utc>) -> String {
    let at = time(entry.at, now);
    if matches!(&entry.content, HistoryContent::Stimulus(stimulus) if matches!(stimulus.cause, Cause::Created { .. }))
    {
        return format!("It was registered at {at}{}.", describe_sender(entry));
    }
    format!("It came from {} at {at}, when {}.", entry.from, describe_cause(entry))
}

/// Describes the cause of an entry, in words that follow "when".
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
        Cause::Retry { action, .. } => format!("{action} waits again{}", describe_reason(entry)),
        Cause::Deadline { .. } => "its deadline passed".to_owned(),
        Cause::Force { to, reason, .. } => {
            format!("an operator{} moved it to {to} by force: {reason}", describe_sender(entry))
        }
    }
}

/// Describes the evidence of an entry.
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

/// Describes an entry that cannot be read.
fn describe_unreadable(why: &str) -> String {
    format!("unreadable entry: {why}")
}

/// Describes observed values, each after its name; a read-back comes first.
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

/// Returns the time of the last observation of an entry: a note can have been continued after it was begun.
pub(super) fn observed_at(entry: &HistoryEntry) -> DateTime<Utc> {
    let continued_at = match &entry.content {
        HistoryContent::Note(_) => entry.evidence.as_ref().and_then(|evidence| evidence.get("at")),
        HistoryContent::Stimulus(_) | HistoryContent::Unreadable(_) => None,
    };
    let continued_at =
        continued_at.and_then(Value::as_str).and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    continued_at.map_or(entry.at, |at| at.to_utc())
}

/// Describes the sender, where it is known.
fn describe_sender(entry: &HistoryEntry) -> String {
    entry.sender.as_ref().map(|sender| format!(" ({sender})")).unwrap_or_default()
}

/// Shortens a text: a report can have many rows.
fn shorten(text: &str) -> String {
    const MAX_TEXT_LENGTH: usize = 200;
    match text.char_indices().nth(MAX_TEXT_LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Describes the predictions of models.
fn describe_predictions(stimulus: &Stimulus) -> String {
    let predictions =
        stimulus.predicted.iter().map(|(model, state)| format!("{} by {model}", shorten(&state.to_string())));
    let predictions: Vec<String> = predictions.collect();
    if predictions.is_empty() { String::new() } else { format!(", judged {}", predictions.join(" and ")) }
}

/// Describes why an event failed or was ignored.
fn describe_reason(entry: &HistoryEntry) -> String {
    let event = match &entry.content {
        HistoryContent::Stimulus(stimulus) => match &stimulus.cause {
            Cause::Event { source, args, .. } => Some((source, args)),
            Cause::Created { .. }
            | Cause::Began { .. }
            | Cause::Suspend { .. }
            | Cause::Retry { .. }
            | Cause::Deadline { .. }
            | Cause::Force { .. } => None,
        },
        HistoryContent::Note(_) | HistoryContent::Unreadable(_) => None,
    };
    let args = event.and_then(|(_, args)| args.get("reason")?.as_str());
    // The reason of an action does not say why the state ignored its event.
    let is_action = event.is_some_and(|(source, _)| *source == EventSource::Action);
    let ignored = if entry.outcome == "ignored" && !is_action { "it changed nothing: " } else { "" };
    match entry.reason.as_deref().or(args) {
        Some(reason) => format!(": {ignored}{reason}"),
        None => String::new(),
    }
}

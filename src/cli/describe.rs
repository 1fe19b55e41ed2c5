//! What a server says of a board or another instance, for people.

use chrono::{DateTime, Local};
use serde_json::Value;

use super::output::{self, row, text};
use crate::boards::DEVICE_FIELDS;
use crate::formatting::count;

/// A time as the people at this terminal tell it.
pub(super) fn local_time(answer: &Value, key: &str) -> String {
    let time = answer[key].as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    time.map(|time| time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

/// The label of an instance's state, where it says more than the state's name.
pub(super) fn label(answer: &Value) -> String {
    if answer["label"] == answer["state"] { String::new() } else { text(answer, "label") }
}

/// What came of an event or a request.
pub(super) fn describe_outcome(answer: &Value) -> String {
    match answer["outcome"].as_str() {
        Some("moved") => format!("{} → {}", text(answer, "from"), text(answer, "to")),
        Some("stayed") => format!("noted, still {}", text(answer, "state")),
        _ => text(answer, "reason"),
    }
}

fn names(values: &Value, key: &str) -> String {
    let names = values.as_array().into_iter().flatten();
    names
        .filter_map(|value| if key.is_empty() { value.as_str() } else { value[key].as_str() })
        .collect::<Vec<_>>()
        .join(", ")
}

/// All that is known of one.
pub(super) fn describe_instance(device: &Value) -> String {
    let mut rows = Vec::new();
    let mut say = |what: &str, text: String| {
        if !text.is_empty() {
            rows.push(row([what.to_owned(), text]));
        }
    };
    say("machine", text(device, "machine"));
    say("name", text(device, "name"));
    say("state", format!("{} since {}", text(device, "state"), local_time(device, "since")));
    say("", label(device));
    say("", text(device, "about"));
    say("failure", text(device, "failure"));
    say("locked out", text(&device["data"], "lock_reason"));
    let by = text(&device["data"], "locked_by");
    say("", if by.is_empty() { by } else { format!("by {by}") });
    for awaited in device["awaited_events"].as_array().into_iter().flatten() {
        let (event, senders) = (text(awaited, "event"), names(&awaited["senders"], ""));
        say("waits for", format!("{event} from the {senders}, then {}", names(&awaited["targets"], "")));
    }
    for (link, to) in device["links"].as_object().into_iter().flatten() {
        say("linked", format!("{link}: {}/{}", text(to, "machine"), text(to, "name")));
    }
    say("", text(device, "boot"));
    say("deadline", local_time(device, "deadline"));
    let on_deadline = &device["on_deadline"];
    if on_deadline.is_object() {
        let retries = match (on_deadline["retries"].as_i64(), on_deadline["max_retries"].as_i64()) {
            (Some(retries), Some(max)) => {
                let exceeded_to = text(on_deadline, "exceeded_to");
                format!(" (passed {}; more than {max} leads to {exceeded_to})", count(retries, "time"))
            }
            _ => String::new(),
        };
        let (to, limit) = (text(on_deadline, "to"), text(on_deadline, "time_limit"));
        say("on deadline", format!("{to} {limit}{retries}"));
    }
    for action in device["actions"].as_array().into_iter().flatten() {
        let ahead = match action["requests_ahead"].as_i64() {
            Some(ahead @ 1..) => {
                format!(", {} before it at {}", count(ahead, "board"), text(action, "resource"))
            }
            _ => String::new(),
        };
        let status = match action["suspended_at"].as_str() {
            Some(since) => format!("suspended since {since}"),
            None => text(action, "status").to_lowercase(),
        };
        let reason = action["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
        say("action", format!("{} {status}{ahead}{reason}", text(action, "action")));
    }
    say("requests", names(&device["requests"], "event"));
    let first = ["image", "next_image", "hardware", "environment", "fqdn"];
    let rest = DEVICE_FIELDS.iter().map(|field| field.name).filter(|name| !first.contains(name));
    for key in first.into_iter().chain(rest) {
        let words = device[key]
            .as_array()
            .map(|words| words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
        say(&key.replace('_', " "), words.unwrap_or_else(|| text(device, key)));
    }
    if device["counters"].as_object().is_some_and(|counters| !counters.is_empty()) {
        say("counters", text(device, "counters"));
    }
    output::table(&rows)
}

/// What happened to one, the newest last.
pub(super) fn describe_history(answer: &Value) -> String {
    let mut rows =
        vec![row(["AT", "WHAT", "FROM", "TO", "VISIT", "DEFINITION", "BY", "REASON"].map(str::to_owned))];
    for entry in answer["history"].as_array().into_iter().flatten().rev() {
        // A state may also have got another name.
        let moved = entry["outcome"] == "moved" || entry["from"] != entry["to"];
        let reason = Some(text(entry, "reason")).filter(|reason| !reason.is_empty());
        // The reason that a board or an action reported for a failure.
        let reason = reason.unwrap_or_else(|| text(&entry["args"], "reason"));
        rows.push(row([
            local_time(entry, "at"),
            text(entry, "event"),
            if moved { text(entry, "from") } else { String::new() },
            if moved { text(entry, "to") } else { String::new() },
            text(entry, "visit"),
            text(entry, "definition"),
            text(entry, "sender"),
            reason,
        ]));
    }
    output::table(&rows)
}

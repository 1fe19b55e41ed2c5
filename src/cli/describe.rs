//! Text for people from a server's answers about boards and other instances.

use std::collections::BTreeMap;

use chrono::{DateTime, Local};
use serde_json::Value;

use super::output::{self, row, text};
use crate::boards::DEVICE_FIELDS;
use crate::formatting::count;

/// A time of an answer in the time zone of this terminal, with the zone; empty where there is none.
pub(super) fn local_time(answer: &Value, key: &str) -> String {
    let time = answer[key].as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    time.map(|time| with_zone(time.with_timezone(&Local))).unwrap_or_default()
}

/// A time with its offset; offset zero is written `UTC`.
fn with_zone(time: DateTime<Local>) -> String {
    let zone = if time.offset().local_minus_utc() == 0 { "UTC" } else { "%:z" };
    time.format(&format!("%Y-%m-%d %H:%M:%S {zone}")).to_string()
}

/// Adds the column LABEL to a table of instances, if the state of one of them has a label: most machines have none.
pub(super) fn add_labels(rows: &mut [Vec<String>], listed: &[Value]) {
    if listed.iter().all(|instance| instance["label"].is_null()) {
        return;
    }
    let labels = listed.iter().map(|instance| output::clipped(&text(instance, "label")));
    for (row, label) in rows.iter_mut().zip(std::iter::once("LABEL".to_owned()).chain(labels)) {
        row.push(label);
    }
}

/// The outcome of an event or a request.
pub(super) fn describe_outcome(answer: &Value) -> String {
    match answer["outcome"].as_str() {
        Some("moved") => format!("{} → {}", text(answer, "from"), text(answer, "to")),
        Some("stayed") => format!("noted, still {}", text(answer, "state")),
        Some("removed") => "removed".to_owned(),
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

/// Everything that a server reports of a board or another instance.
pub(super) fn describe_instance(device: &Value) -> String {
    let mut rows = Vec::new();
    let mut add = |name: &str, text: String| {
        if !text.is_empty() {
            rows.push(row([name.to_owned(), text]));
        }
    };
    add("machine", text(device, "machine"));
    add("name", text(device, "name"));
    add("state", format!("{} since {}", text(device, "state"), local_time(device, "since")));
    add("", text(device, "label"));
    add("", text(device, "about"));
    add("failure", text(device, "failure"));
    add("locked out", text(&device["data"], "lock_reason"));
    let by = text(&device["data"], "locked_by");
    add("", if by.is_empty() { by } else { format!("by {by}") });
    for awaited in device["awaited_events"].as_array().into_iter().flatten() {
        let (event, senders) = (text(awaited, "event"), names(&awaited["senders"], ""));
        add("waits for", format!("{event} from the {senders}, then {}", names(&awaited["targets"], "")));
    }
    for (link, to) in device["links"].as_object().into_iter().flatten() {
        add("linked", format!("{link}: {}/{}", text(to, "machine"), text(to, "name")));
    }
    add("", text(device, "boot"));
    add("power", describe_power(device));
    add("", text(&device["observed_power"], "warning"));
    let changed_at = local_time(&device["observed_power"], "url_changed_at");
    add("", if changed_at.is_empty() { changed_at } else { format!("power URL changed at {changed_at}") });
    add("deadline", local_time(device, "deadline"));
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
        add("on deadline", format!("{to} {limit}{retries}"));
    }
    for action in device["actions"].as_array().into_iter().flatten() {
        let ahead = match action["requests_ahead"].as_i64() {
            Some(ahead @ 1..) => {
                format!(", {} before it at {}", count(ahead, "board"), text(action, "resource"))
            }
            _ => String::new(),
        };
        let status = match action["suspended_at"].as_str() {
            Some(_) => format!("suspended since {}", local_time(action, "suspended_at")),
            None => text(action, "status").to_lowercase(),
        };
        let reason = action["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
        add("action", format!("{} {status}{ahead}{reason}", text(action, "action")));
    }
    let (mut accepted, mut refused) = (Vec::new(), BTreeMap::<&str, Vec<String>>::new());
    for request in device["requests"].as_array().into_iter().flatten() {
        let event = text(request, "event");
        match request["refusal_reason"].as_str() {
            None => accepted.push(event),
            Some(reason) => refused.entry(reason).or_default().push(event),
        }
    }
    add("requests", accepted.join(", "));
    for (reason, events) in refused {
        add("refused", format!("{}: {reason}", events.join(", ")));
    }
    let first = ["image", "next_image", "hardware", "environment", "fqdn"];
    let rest = DEVICE_FIELDS.iter().map(|field| field.name).filter(|name| !first.contains(name));
    for key in first.into_iter().chain(rest) {
        let list = device[key]
            .as_array()
            .map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
        add(&key.replace('_', " "), list.unwrap_or_else(|| text(device, key)));
    }
    if device["counters"].as_object().is_some_and(|counters| !counters.is_empty()) {
        add("counters", text(device, "counters"));
    }
    output::table(&rows)
}

/// What was last observed of a board's power; empty where nothing can be.
fn describe_power(device: &Value) -> String {
    let power = &device["observed_power"];
    let (state, words) = (text(power, "state"), text(power, "words"));
    let at = local_time(power, "at");
    match (state.is_empty(), at.is_empty()) {
        (true, _) => String::new(),
        (false, true) => format!("{state}: {words}"),
        (false, false) => format!("{state} at {at}: {words}"),
    }
}

/// The new values of facts that were changed.
fn changed_facts(entry: &Value) -> String {
    let changed = entry["evidence"].as_object().into_iter().flatten();
    let changed = changed.map(|(fact, value)| {
        format!("{fact} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    });
    output::clipped(&changed.collect::<Vec<_>>().join(", "))
}

/// The history of a board or another instance, the newest entry first.
pub(super) fn describe_history(answer: &Value) -> String {
    let mut rows =
        vec![
            row(["AT", "EVENT", "FROM", "TO", "VISIT", "DEFINITION", "SENDER", "REASON"].map(str::to_owned)),
        ];
    for entry in answer["history"].as_array().into_iter().flatten() {
        // A state may have been renamed without a move.
        let moved = entry["outcome"] == "moved" || entry["from"] != entry["to"];
        let reason = Some(text(entry, "reason")).filter(|reason| !reason.is_empty());
        // Otherwise the reason that a board or an action reported with its failure.
        let reason = reason.unwrap_or_else(|| text(&entry["args"], "reason"));
        let reason = if entry["event"] == "changed" { changed_facts(entry) } else { reason };
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

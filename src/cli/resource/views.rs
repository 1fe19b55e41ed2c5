//! Resources as text.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::cli::describe::local_time;
use crate::cli::output::{self, text};
use crate::formatting::{count, duration};

/// The units in use, and the capacity.
fn in_use(resource: &Value) -> String {
    match resource["capacity"].as_u64() {
        Some(capacity) => format!("{} of {capacity}", resource["in_use"]),
        None => format!("{}, no limit", resource["in_use"]),
    }
}

/// The load in use, and the budget; nothing where there is none.
fn load(resource: &Value) -> Option<String> {
    let budget = resource["budget_a"].as_f64()?;
    Some(format!("{} of {budget} A", resource["load_a"].as_f64().unwrap_or_default()))
}

fn names(holders: &Value) -> String {
    let names = holders.as_array().into_iter().flatten().map(|holder| text(holder, "name"));
    output::clipped(&names.collect::<Vec<_>>().join(", "))
}

/// The resources as a table, each below what contains it.
pub(super) fn resource_table(answer: &Value) -> String {
    let heading = ["RESOURCE", "IN USE", "COOLING", "LOAD", "HOLDERS", "WAITING"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut within: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for resource in answer["resources"].as_array().into_iter().flatten() {
        within.entry(resource["within"].as_str().unwrap_or_default()).or_default().push(resource);
    }
    add_rows(&within, "", 0, &mut rows);
    output::table(&rows)
}

fn add_rows(
    within: &BTreeMap<&str, Vec<&Value>>,
    container: &str,
    depth: usize,
    rows: &mut Vec<Vec<String>>,
) {
    for resource in within.get(container).into_iter().flatten() {
        let waiting = resource["queue"].as_array().map_or(0, Vec::len);
        let cooling = resource["cooling"]["units"].as_u64().filter(|units| *units > 0);
        let name = text(resource, "name");
        rows.push(vec![
            format!("{}{name}", "  ".repeat(depth)),
            in_use(resource),
            cooling.map(|units| units.to_string()).unwrap_or_default(),
            load(resource).unwrap_or_default(),
            names(&resource["holders"]),
            waiting.to_string(),
        ]);
        if let Some(name) = resource["name"].as_str().filter(|name| !name.is_empty()) {
            add_rows(within, name, depth + 1, rows);
        }
    }
}

fn span(resource: &Value, key: &str) -> Option<String> {
    let span = resource[key].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    span.filter(|span| !span.is_zero()).map(duration)
}

/// A resource with its limits, holders and queue.
pub(super) fn describe_resource(resource: &Value) -> String {
    let mut rows = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        rows.extend(value.map(|value| vec![name.to_owned(), value]));
    };
    let given = |key| Some(text(resource, key)).filter(|text| !text.is_empty());
    add("name", given("name"));
    add("about", given("about"));
    add("within", given("within"));
    add("in use", Some(in_use(resource)));
    add("load", load(resource));
    add("cooling", cooling(resource));
    for (name, key) in
        [("gap", "gap_s"), ("settle", "settle_s"), ("window", "window_s"), ("minimum off time", "min_off_s")]
    {
        add(name, span(resource, key));
    }
    let incident = &resource["incident"];
    if incident.is_object() {
        let reason = text(incident, "reason");
        let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
        let (at, since) = (text(incident, "resource"), local_time(incident, "opened_at"));
        add("incident", Some(format!("open at {at} since {since}{reason}")));
    }
    for holder in resource["holders"].as_array().into_iter().flatten() {
        let action = holder["action"].as_str().map(|action| format!(" for {action}")).unwrap_or_default();
        let since = local_time(holder, "since");
        add("held by", Some(format!("{}{action} since {since}", text(holder, "name"))));
    }
    for waiter in resource["queue"].as_array().into_iter().flatten() {
        let expected = match (incident_of(waiter), waiter["expected_at"].as_str()) {
            (Some(incident), _) => format!(", {incident}"),
            (None, Some(_)) => format!(", expected to start at {}", local_time(waiter, "expected_at")),
            (None, None) => String::new(),
        };
        let (name, action) = (text(waiter, "name"), text(waiter, "action"));
        add("waiting", Some(format!("{name} for {action} since {}{expected}", local_time(waiter, "since"))));
    }
    output::table(&rows)
}

/// The incident that an action waits for, where it does.
fn incident_of(waiter: &Value) -> Option<String> {
    let resource = waiter["incident"]["resource"].as_str()?;
    Some(format!("waits for incident at {resource}"))
}

/// The units that cool, and until when.
fn cooling(resource: &Value) -> Option<String> {
    let cooling = &resource["cooling"];
    let units = cooling["units"].as_u64().filter(|units| *units > 0)?;
    let load = cooling["load_a"].as_f64().filter(|load| *load > 0.0);
    let load = load.map(|load| format!(" with {load} A")).unwrap_or_default();
    let until = local_time(cooling, "until");
    Some(format!(
        "{}{load}, the first until {}, the last until {until}",
        count(units, "unit"),
        local_time(cooling, "next_at")
    ))
}

/// All waiting actions as a table.
pub(super) fn queue_table(answer: &Value) -> String {
    let heading = ["NAME", "ACTION", "RESOURCES", "AHEAD", "SINCE", "EXPECTED START"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for action in answer["queue"].as_array().into_iter().flatten() {
        let resources = action["resources"].as_array().into_iter().flatten().filter_map(Value::as_str);
        rows.push(vec![
            text(action, "name"),
            text(action, "action"),
            output::clipped(&resources.collect::<Vec<_>>().join(", ")),
            text(action, "requests_ahead"),
            local_time(action, "since"),
            incident_of(action).unwrap_or_else(|| local_time(action, "expected_at")),
        ]);
    }
    output::table(&rows)
}

/// What an import changes.
pub(super) fn describe_import(answer: &Value) -> String {
    let mut lines = Vec::new();
    let members = [("changes", "name", ""), ("hardware", "hardware", "hardware ")];
    for (list, name, kind) in members {
        for change in answer[list].as_array().into_iter().flatten() {
            let name = format!("{kind}{}", text(change, name));
            lines.push(match (change["before"].as_str(), change["after"].as_str()) {
                (None, Some(after)) => format!("+ {name}: {after}"),
                (Some(before), None) => format!("- {name}: {before}"),
                (Some(before), Some(after)) => format!("~ {name}: {before} becomes {after}"),
                (None, None) => format!("+ {name}: {{}}"),
            });
        }
    }
    if lines.is_empty() {
        "nothing to change".to_owned()
    } else {
        if answer["dry_run"] == Value::Bool(true) {
            lines.push("nothing was changed: a dry run".to_owned());
        }
        lines.join("\n")
    }
}

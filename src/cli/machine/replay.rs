//! `lifeguard machine replay`: replays history, under the definitions of its time or under another one.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::Value;

use super::super::api_client::{ApiClient, ServerOptions};
use super::super::output;
use super::file;
use crate::formatting::count;

/// The maximum number of instances in another state that are named.
const MAX_NAMED_INSTANCES: usize = 20;

/// Options of `lifeguard machine replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayOptions {
    /// The machine whose instances' history is replayed
    #[arg(long, value_name = "MACHINE", default_value = "board")]
    machine: String,
    /// Replay only the history of this instance
    #[arg(long, alias = "device", value_name = "NAME")]
    instance: Option<String>,
    /// Compare only what happened since this time; with --definition, that definition counts as active since then
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// Show what would have been different under this definition
    #[arg(long, alias = "with", value_name = "FILE")]
    definition: Option<PathBuf>,
    #[command(flatten)]
    server: ServerOptions,
}

fn time(text: &str) -> Result<DateTime<Utc>, &'static str> {
    text.parse().map_err(|_| "a time such as 2026-11-25T12:00:00Z is needed")
}

/// Replays history. Exit code 0: it matches what is stored; 1: it differs.
pub(super) async fn run(options: ReplayOptions) -> Result<ExitCode, Box<dyn Error>> {
    let ReplayOptions { machine, instance, since, definition, server } = options;
    let text = match &definition {
        Some(path) => {
            let text = file::read(path)?;
            file::check(&file::name(path), &text)?;
            text
        }
        None => String::new(),
    };
    let mut query = Vec::new();
    query.extend(instance.map(|instance| ("instance", instance)));
    query.extend(since.map(|since| ("since", since.to_rfc3339())));
    let client = ApiClient::new(&server)?.with_long_timeout();
    let answer =
        client.send_text(reqwest::Method::POST, &["machines", &machine, "replay"], &query, text).await?;
    let unreadable = answer["unreadable"].as_array().is_some_and(|all| !all.is_empty());
    let differs = unreadable || !answer["difference"].is_null();
    if server.json {
        output::print(&serde_json::to_string_pretty(&answer)?)?;
    } else {
        output::print(&summary(&answer))?;
    }
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn summary(answer: &Value) -> String {
    let counted = |key: &str, noun| count(answer[key].as_u64().unwrap_or_default(), noun);
    let mut lines =
        vec![format!("{}, {} of history", counted("instances", "instance"), counted("entries", "entry"))];
    if answer["without_history"].as_u64().unwrap_or_default() > 0 {
        lines.push(format!(
            "{} more cannot be replayed: the first entries are beyond the retention of history",
            counted("without_history", "instance")
        ));
    }
    for unreadable in answer["unreadable"].as_array().into_iter().flatten() {
        let entry = unreadable["entry"].as_i64().map_or_else(String::new, |entry| format!(", entry {entry}"));
        lines.push(format!(
            "{}{entry}: cannot be read: {}",
            word(&unreadable["name"]),
            word(&unreadable["reason"])
        ));
    }
    let differs = &answer["difference"];
    lines.push(if differs.is_null() {
        "replay matches the stored history".to_owned()
    } else {
        let entry = differs["entry"].as_i64().map_or_else(String::new, |entry| format!(", entry {entry}"));
        format!(
            "replay differs from the stored history, first at {}{entry}: {} is stored as {}, replay gives {}",
            word(&differs["name"]),
            word(&differs["what"]),
            word(&differs["stored"]),
            word(&differs["replayed"])
        )
    });
    let what_if = &answer["what_if"];
    if !what_if.is_null() {
        lines.push(String::new());
        lines.push(table(what_if));
        lines.extend(instances_in_other_states(what_if));
    }
    lines.join("\n")
}

fn table(what_if: &Value) -> String {
    let mut rows = vec![["", "WAS", "WOULD BE", "DIFFERENCE"].map(str::to_owned).to_vec()];
    let mut row = |name: &str, both: &Value| {
        let number = |key: &str| both[key].as_i64().unwrap_or_default();
        let (was, would_be) = (number("was"), number("would_be"));
        rows.push(vec![
            name.to_owned(),
            was.to_string(),
            would_be.to_string(),
            format!("{:+}", would_be - was),
        ]);
    };
    row("power operations", &what_if["power_operations"]);
    for (state, both) in what_if["failures"].as_object().into_iter().flatten() {
        row(state, both);
    }
    output::table(&rows)
}

fn instances_in_other_states(what_if: &Value) -> Vec<String> {
    let instances = what_if["elsewhere"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = vec![format!("{} would be in another state", count(instances.len(), "instance"))];
    for instance in instances.iter().take(MAX_NAMED_INSTANCES) {
        let part = |key: &str| word(&instance[key]);
        lines.push(format!("  {}: {} instead of {}", part("name"), part("would_be"), part("is")));
    }
    if instances.len() > MAX_NAMED_INSTANCES {
        lines.push(format!("  and {} more; --json has all", instances.len() - MAX_NAMED_INSTANCES));
    }
    lines
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

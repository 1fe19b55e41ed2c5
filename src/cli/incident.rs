//! `lifeguard incident`: resources that do not answer.

use std::error::Error;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::api_client::{ApiClient, ServerOptions};
use super::describe::local_time;
use super::output::{self, text};

/// The command's options.
#[derive(Debug, Args)]
pub(super) struct IncidentOptions {
    #[command(flatten)]
    server: ServerOptions,
    #[command(subcommand)]
    command: IncidentCommand,
}

#[derive(Debug, Subcommand)]
enum IncidentCommand {
    /// List open incidents: the resource, since when, why, and how many boards wait
    List {
        /// List also the last incident of each resource that answers again
        #[arg(long)]
        all: bool,
    },
    /// Show an incident and the boards that wait
    Show {
        /// Its name or its resource, as in `lifeguard incident list`
        name: String,
    },
    /// Close an incident although the resource has not answered: the boards go on
    Close {
        /// Its name or its resource, as in `lifeguard incident list`
        name: String,
        /// The reason, for the history
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Runs the command.
///
/// # Errors
///
/// Why the command failed, for people.
pub(super) async fn run(options: IncidentOptions) -> Result<(), Box<dyn Error>> {
    let client = ApiClient::new(&options.server)?;
    let (answer, describe): (Value, fn(&Value) -> String) = match options.command {
        IncidentCommand::List { all } => {
            let query = [("all", all.to_string())];
            (client.get(&["incidents"], if all { &query } else { &[] }).await?, incident_table)
        }
        IncidentCommand::Show { name } => (client.get(&["incidents", &name], &[]).await?, describe_incident),
        IncidentCommand::Close { name, reason } => {
            let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
            let path = ["incidents", &name, "close"];
            (client.call(Method::POST, &path, &[], Some(&body)).await?, describe_incident)
        }
    };
    let text = if options.server.json { serde_json::to_string_pretty(&answer)? } else { describe(&answer) };
    output::print(&text)?;
    Ok(())
}

fn state(incident: &Value) -> &'static str {
    if incident["open"] == true { "open" } else { "closed" }
}

fn incident_table(answer: &Value) -> String {
    let incidents = answer["incidents"].as_array().map(Vec::as_slice).unwrap_or_default();
    if incidents.is_empty() {
        return "no incidents".to_owned();
    }
    let mut rows = vec![["RESOURCE", "STATE", "SINCE", "WAITING", "REASON"].map(str::to_owned).to_vec()];
    for incident in incidents {
        let since = if incident["open"] == true { "opened_at" } else { "closed_at" };
        rows.push(vec![
            text(incident, "resource"),
            state(incident).to_owned(),
            local_time(incident, since),
            incident["waiting"].to_string(),
            output::clipped(&text(incident, "reason")),
        ]);
    }
    output::table(&rows)
}

fn describe_incident(incident: &Value) -> String {
    let mut rows = vec![
        vec!["resource".to_owned(), text(incident, "resource")],
        vec!["name".to_owned(), text(incident, "name")],
        vec!["state".to_owned(), state(incident).to_owned()],
    ];
    for (name, key) in [("opened", "opened_at"), ("closed", "closed_at"), ("next probe", "next_probe_at")] {
        if incident[key].is_string() {
            rows.push(vec![name.to_owned(), local_time(incident, key)]);
        }
    }
    if incident["reason"].is_string() {
        rows.push(vec!["reason".to_owned(), text(incident, "reason")]);
    }
    for waiting in incident["queue"].as_array().into_iter().flatten() {
        rows.push(vec!["waiting".to_owned(), output::shown(waiting.as_str().unwrap_or_default())]);
    }
    output::table(&rows)
}

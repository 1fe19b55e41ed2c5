//! `lifeguard machine load`, `list` and `show`: activates definitions, and shows the active and the earlier ones.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::super::api_client::{ApiClient, ServerOptions};
use super::super::describe::local_time;
use super::super::output::{self, text};
use super::file;

/// Options of `lifeguard machine load`.
#[derive(Debug, Args)]
pub(super) struct MachineLoadOptions {
    /// The definition; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print the effect without activating the definition
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Options of `lifeguard machine list`.
#[derive(Debug, Args)]
pub(super) struct MachineListOptions {
    #[command(flatten)]
    server: ServerOptions,
}

/// Options of `lifeguard machine show`.
#[derive(Debug, Args)]
pub(super) struct MachineShowOptions {
    /// The machine
    machine: String,
    /// Print the text of this definition instead; `machine show board --definition 3 | machine load -` reverts to it
    #[arg(long, alias = "number", value_name = "NUMBER")]
    definition: Option<i32>,
    #[command(flatten)]
    server: ServerOptions,
}

/// Activates a definition.
pub(super) async fn load(options: MachineLoadOptions) -> Result<(), Box<dyn Error>> {
    let text = file::read(&options.file)?;
    let name = file::name(&options.file);
    let definition = file::check(&name, &text)?;
    let client = ApiClient::new(&options.server)?;
    let query: &[_] = if options.dry_run { &[("dry_run", "true".to_owned())] } else { &[] };
    let machine = definition.machine.as_str();
    let answer = client.send_text(Method::PUT, &["machines", machine], query, text).await?;
    if options.server.json {
        output::print(&serde_json::to_string_pretty(&answer)?)?;
    } else {
        output::print(&summary(&answer, options.dry_run))?;
    }
    Ok(())
}

/// Lists the active definitions.
pub(super) async fn list(options: MachineListOptions) -> Result<(), Box<dyn Error>> {
    let answer = ApiClient::new(&options.server)?.get(&["machines"], &[]).await?;
    print(&answer, &answer["machines"], options.server.json)
}

/// Shows the definitions of a machine, or the text of one.
pub(super) async fn show(options: MachineShowOptions) -> Result<(), Box<dyn Error>> {
    let client = ApiClient::new(&options.server)?;
    if let Some(number) = options.definition {
        let path = ["machines", &options.machine, "definitions", &number.to_string()];
        let text = client.get_text(&path).await?;
        return Ok(output::print(text.strip_suffix('\n').unwrap_or(&text))?);
    }
    let answer = client.get(&["machines", &options.machine], &[]).await?;
    let mut newest_first = answer["history"].clone();
    if let Value::Array(activations) = &mut newest_first {
        activations.reverse();
    }
    print(&answer, &newest_first, options.server.json)
}

fn print(answer: &Value, activations: &Value, json: bool) -> Result<(), Box<dyn Error>> {
    let text = if json { serde_json::to_string_pretty(answer)? } else { table(activations) };
    Ok(output::print(&text)?)
}

fn table(activations: &Value) -> String {
    let mut rows =
        vec![["MACHINE", "DEFINITION", "ACTIVATED", "ORIGIN", "DIGEST"].map(str::to_owned).to_vec()];
    for activation in activations.as_array().into_iter().flatten() {
        let origin = match (text(activation, "origin"), text(activation, "sender")) {
            (origin, sender) if sender.is_empty() => origin,
            (origin, sender) => format!("{origin} by {sender}"),
        };
        let digest = text(activation, "digest").chars().take(12).collect();
        let (machine, number) = (text(activation, "machine"), text(activation, "definition"));
        rows.push(vec![machine, number, local_time(activation, "activated_at"), origin, digest]);
    }
    output::table(&rows)
}

/// The effect of an activation, or of a dry run.
fn summary(answer: &Value, is_dry_run: bool) -> String {
    let machine = text(answer, "machine");
    if answer["active"] == Value::Bool(true) && answer["changed"] == Value::Bool(false) {
        // A dry run gives no number of its own.
        let number = answer["definition"].as_i64().or(answer["previous"].as_i64());
        let number = number.map(|number| format!("definition {number} of ")).unwrap_or_default();
        return format!("{number}{machine} is active with this text already: nothing to change");
    }
    let mut lines = Vec::new();
    let difference = &answer["difference"];
    for (key, sign) in [("added", '+'), ("removed", '-')] {
        let states = difference[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.extend(states.map(|state| format!("{sign} {state}")));
    }
    for pair in difference["renamed"].as_array().into_iter().flatten() {
        lines.push(format!("~ {} is renamed to {}", word(&pair[0]), word(&pair[1])));
    }
    for change in difference["changed"].as_array().into_iter().flatten() {
        let subject = [word(&change["state"]), word(&change["what"])].join(" ");
        let side = |key: &str| change[key].as_str().unwrap_or("nothing");
        lines.push(format!("~ {}\n    was {}\n    is  {}", subject.trim(), side("was"), side("is")));
    }
    if lines.is_empty() && !answer["previous"].is_null() {
        lines.push("no state, event, action or deadline differs".to_owned());
    }
    for group in answer["carried_over"].as_array().into_iter().flatten() {
        let (state, to, count) = (text(group, "state"), text(group, "to"), &group["instances"]);
        let renamed = if state == to { String::new() } else { format!(", now {to}") };
        lines.push(format!("{count} in {state}{renamed}: deadline {}", text(group, "deadline")));
    }
    let stranded: Vec<String> = answer["stranded"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|instance| format!("{} in {}", text(instance, "name"), text(instance, "state")))
        .collect();
    if !stranded.is_empty() {
        lines.push(format!(
            "{} would be stranded, so the definition cannot be activated: {}",
            answer["stranded_instances"],
            stranded.join(", ")
        ));
    }
    lines.push(match (is_dry_run, answer["definition"].as_i64()) {
        (false, Some(number)) => format!("definition {number} of {machine} is active"),
        _ => "nothing was changed".to_owned(),
    });
    lines.join("\n")
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

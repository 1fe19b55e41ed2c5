//! `lifeguard machine load`, `list` and `show`: which definitions are in force, and putting another one in force.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::super::api_client::{ApiClient, ServerOptions};
use super::super::output;
use super::file;

/// Options of `lifeguard machine load`.
#[derive(Debug, Args)]
pub(super) struct MachineLoadOptions {
    /// The definition; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only say what it would do
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
    /// Print the text of this definition instead: `machine show board --number 3 | machine load -` goes back to it
    #[arg(long, value_name = "NUMBER")]
    number: Option<i32>,
    #[command(flatten)]
    server: ServerOptions,
}

/// Puts a definition in force.
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

/// Lists what is in force.
pub(super) async fn list(options: MachineListOptions) -> Result<(), Box<dyn Error>> {
    let answer = ApiClient::new(&options.server)?.get(&["machines"], &[]).await?;
    print(&answer, &answer["machines"], options.server.json)
}

/// Shows what was in force, or a definition's text.
pub(super) async fn show(options: MachineShowOptions) -> Result<(), Box<dyn Error>> {
    let client = ApiClient::new(&options.server)?;
    if let Some(number) = options.number {
        let path = ["machines", &options.machine, "definitions", &number.to_string()];
        let text = client.get_text(&path).await?;
        return Ok(output::print(text.strip_suffix('\n').unwrap_or(&text))?);
    }
    let answer = client.get(&["machines", &options.machine], &[]).await?;
    print(&answer, &answer["history"], options.server.json)
}

fn print(answer: &Value, adopted: &Value, json: bool) -> Result<(), Box<dyn Error>> {
    let text = if json { serde_json::to_string_pretty(answer)? } else { table(adopted) };
    Ok(output::print(&text)?)
}

fn table(adopted: &Value) -> String {
    let mut rows = vec![["MACHINE", "NUMBER", "SINCE", "FROM", "DIGEST"].map(str::to_owned).to_vec()];
    for one in adopted.as_array().into_iter().flatten() {
        let origin = match (text(one, "origin"), text(one, "sender")) {
            (origin, "") => origin.to_owned(),
            (origin, sender) => format!("{origin} by {sender}"),
        };
        let since = text(one, "activated_at").get(..19).unwrap_or_default().replace('T', " ");
        let digest = text(one, "digest").get(..12).unwrap_or_default();
        let number = one["definition"].to_string();
        rows.push(vec![text(one, "machine").to_owned(), number, since, origin, digest.to_owned()]);
    }
    output::table(&rows)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// What putting a definition in force did, or would do, for people.
fn summary(answer: &Value, is_tried: bool) -> String {
    let machine = text(answer, "machine");
    if answer["active"] == Value::Bool(true) && answer["changed"] == Value::Bool(false) {
        // A dry run gives no number of its own.
        let number = answer["definition"].as_i64().or(answer["previous"].as_i64());
        let number = number.map(|number| format!("definition {number} of ")).unwrap_or_default();
        return format!("{number}{machine} is this text already, and in force: nothing to change");
    }
    let mut lines = Vec::new();
    let difference = &answer["difference"];
    for (key, sign) in [("added", '+'), ("removed", '-')] {
        let states = difference[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.extend(states.map(|state| format!("{sign} {state}")));
    }
    for pair in difference["renamed"].as_array().into_iter().flatten() {
        lines.push(format!("~ {} is now called {}", word(&pair[0]), word(&pair[1])));
    }
    for change in difference["changed"].as_array().into_iter().flatten() {
        let place = [word(&change["state"]), word(&change["what"])].join(" ");
        let side = |key: &str| change[key].as_str().unwrap_or("nothing");
        lines.push(format!("~ {}\n    was {}\n    is  {}", place.trim(), side("was"), side("is")));
    }
    if lines.is_empty() && !answer["previous"].is_null() {
        lines.push("no state, event, action or deadline differs".to_owned());
    }
    for one in answer["carried_over"].as_array().into_iter().flatten() {
        let (state, to, count) = (text(one, "state"), text(one, "to"), &one["instances"]);
        let moved = if state == to { String::new() } else { format!(", now {to}") };
        lines.push(format!("{count} in {state}{moved}: their deadline {}", text(one, "deadline")));
    }
    let stranded: Vec<String> = answer["stranded"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| format!("{} in {}", text(one, "name"), text(one, "state")))
        .collect();
    if !stranded.is_empty() {
        lines.push(format!(
            "{} would be stranded, so it cannot come into force: {}",
            answer["stranded_instances"],
            stranded.join(", ")
        ));
    }
    lines.push(match (is_tried, answer["definition"].as_i64()) {
        (false, Some(number)) => format!("definition {number} of {machine} is in force"),
        _ => "nothing was changed".to_owned(),
    });
    lines.join("\n")
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

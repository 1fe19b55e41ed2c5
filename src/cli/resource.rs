//! `lifeguard resource`: resources, their holders, their queues and their limits.

use std::error::Error;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::api_client::{ApiClient, ServerOptions};
use super::describe::local_time;
use super::output::{self, text};
use super::serve::number_from;
use crate::formatting::duration;
use crate::machine::parse_span;

/// The maximum of a gap and a settle time.
const MAX_LIMIT_SPAN: Duration = Duration::from_hours(24);

/// The command's options.
#[derive(Debug, Args)]
pub(super) struct ResourceOptions {
    #[command(flatten)]
    server: ServerOptions,
    #[command(subcommand)]
    command: ResourceCommand,
}

#[derive(Debug, Subcommand)]
enum ResourceCommand {
    /// List resources, with the units in use, the holders and the length of the queue
    List,
    /// Show the holders and the queue of a resource, with the expected start of each waiting action
    Show {
        /// Its name, as in `lifeguard resource list`
        name: String,
    },
    /// Set the limits of a resource; those not given are as definitions and drivers declare them
    Set {
        /// Its name
        name: String,
        /// The number of units; with 0 nothing is granted
        #[arg(long, value_parser = |text: &str| number_from(text, 0_u32))]
        capacity: Option<u32>,
        /// The minimum time between two grants, such as 5s
        #[arg(long, value_name = "DURATION", value_parser = limit_span)]
        gap: Option<Duration>,
        /// The minimum time between a release and the next grant, such as 500ms
        #[arg(long, value_name = "DURATION", value_parser = limit_span)]
        settle: Option<Duration>,
    },
}

/// Runs the command.
///
/// # Errors
///
/// Why the command failed, for people.
pub(super) async fn run(options: ResourceOptions) -> Result<(), Box<dyn Error>> {
    let client = ApiClient::new(&options.server)?;
    let (answer, describe): (Value, fn(&Value) -> String) = match options.command {
        ResourceCommand::List => (client.get(&["resources"], &[]).await?, resource_table),
        ResourceCommand::Show { name } => (client.get(&["resources", &name], &[]).await?, describe_resource),
        ResourceCommand::Set { name, capacity, gap, settle } => {
            let seconds = |span: Option<Duration>| span.map(|span| span.as_secs_f64());
            let body = json!({ "capacity": capacity, "gap_s": seconds(gap), "settle_s": seconds(settle) });
            (client.call(Method::PUT, &["resources", &name], &[], Some(&body)).await?, describe_resource)
        }
    };
    output::warn_of(&answer);
    let text = if options.server.json { serde_json::to_string_pretty(&answer)? } else { describe(&answer) };
    output::print(&text)?;
    Ok(())
}

/// Parses a duration of at most a day, which is the server's limit.
fn limit_span(text: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| format!("{error}; write it like `5s` or `500ms`"))?;
    if span > MAX_LIMIT_SPAN { Err("it may be at most a day".to_owned()) } else { Ok(span) }
}

/// The units in use, and the capacity.
fn in_use(resource: &Value) -> String {
    match resource["capacity"].as_u64() {
        Some(capacity) => format!("{} of {capacity}", resource["in_use"]),
        None => format!("{}, no limit", resource["in_use"]),
    }
}

fn names(holders: &Value) -> String {
    let names = holders.as_array().into_iter().flatten().map(|holder| text(holder, "name"));
    output::clipped(&names.collect::<Vec<_>>().join(", "))
}

fn resource_table(answer: &Value) -> String {
    let mut rows = vec![["RESOURCE", "IN USE", "HOLDERS", "WAITING"].map(str::to_owned).to_vec()];
    for resource in answer["resources"].as_array().into_iter().flatten() {
        let waiting = resource["queue"].as_array().map_or(0, Vec::len);
        rows.push(vec![
            text(resource, "name"),
            in_use(resource),
            names(&resource["holders"]),
            waiting.to_string(),
        ]);
    }
    output::table(&rows)
}

fn describe_resource(resource: &Value) -> String {
    let mut rows =
        vec![vec!["name".to_owned(), text(resource, "name")], vec!["in use".to_owned(), in_use(resource)]];
    for (name, key) in [("gap", "gap_s"), ("settle", "settle_s")] {
        let span = resource[key].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        if let Some(span) = span.filter(|span| !span.is_zero()) {
            rows.push(vec![name.to_owned(), duration(span)]);
        }
    }
    for holder in resource["holders"].as_array().into_iter().flatten() {
        let action = holder["action"].as_str().map(|action| format!(" for {action}")).unwrap_or_default();
        rows.push(vec![
            "held by".to_owned(),
            format!("{}{action} since {}", text(holder, "name"), local_time(holder, "since")),
        ]);
    }
    for waiter in resource["queue"].as_array().into_iter().flatten() {
        let expected = match waiter["expected_at"].as_str() {
            Some(_) => format!(", expected to start at {}", local_time(waiter, "expected_at")),
            None => String::new(),
        };
        let since = local_time(waiter, "since");
        rows.push(vec![
            "waiting".to_owned(),
            format!("{} for {} since {since}{expected}", text(waiter, "name"), text(waiter, "action")),
        ]);
    }
    output::table(&rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct TestArgs {
        #[command(flatten)]
        options: ResourceOptions,
    }

    #[test]
    fn a_span_of_more_than_a_day_is_refused_with_the_name_of_its_option() {
        let read = |span| TestArgs::try_parse_from(["resource", "set", "a", "--gap", span]);
        assert!(read("24h").is_ok());
        let error = read("100000d").unwrap_err().to_string();
        assert!(error.contains("'--gap <DURATION>'") && error.contains("at most a day"), "{error}");
    }
}

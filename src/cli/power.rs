//! `lifeguard power`: power outlets by hand, the drivers, and scans of devices.

use std::error::Error;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api_client::{ApiClient, ApiClientError, ServerOptions};
use super::describe::local_time;
use super::output::{self, row, text};
use crate::formatting::duration;
use crate::machine::parse_span;

/// The longest wait for the end of an operation.
const MAX_TIMEOUT: Duration = Duration::from_mins(10);
/// The shortest time in a queue that is shown, in seconds: every operation waits for some milliseconds.
const SHORTEST_SHOWN_QUEUED_S: f64 = 0.1;

/// The command's options.
#[derive(Debug, Args)]
pub(super) struct PowerOptions {
    #[command(flatten)]
    server: ServerOptions,
    #[command(subcommand)]
    command: PowerCommand,
}

#[derive(Debug, Subcommand)]
enum PowerCommand {
    /// Read whether an outlet is on
    Status(OutletArgs),
    /// Connect to an outlet and read it, and show what its driver can do; nothing is switched
    Test(OutletArgs),
    /// Switch an outlet on
    On(SwitchArgs),
    /// Switch an outlet off
    Off(SwitchArgs),
    /// Switch an outlet off and on again
    Cycle(SwitchArgs),
    /// List the drivers: the forms of power URLs, with examples
    Drivers,
    /// Propose the outlets of a device that answers, by reading only
    Scan {
        /// The URL of the device, without an outlet, such as `modbus://relay-3.lab`
        url: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

#[derive(Debug, Args)]
struct OutletArgs {
    /// A power URL, or the name of a board that has one
    #[arg(value_name = "URL|BOARD")]
    outlet: String,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, Args)]
struct SwitchArgs {
    #[command(flatten)]
    outlet: OutletArgs,
    /// Switch it even if it is a board's that Lifeguard looks after, which is neither in Maintenance nor locked out
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct WaitArgs {
    /// How long to wait for the end, such as 30s; the operation goes on after that
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = timeout)]
    timeout: Duration,
}

/// Parses a wait of whole seconds.
fn timeout(text: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| format!("{error}; write it like `30s` or `2m`"))?;
    if (Duration::from_secs(1)..=MAX_TIMEOUT).contains(&span) {
        Ok(span)
    } else {
        Err("it may be from one second to ten minutes".to_owned())
    }
}

/// Runs the command.
///
/// # Errors
///
/// Why the command failed, for people.
pub(super) async fn run(options: PowerOptions) -> Result<(), Box<dyn Error>> {
    let PowerOptions { server, command } = options;
    let client = ApiClient::new(&server)?.with_long_timeout();
    let show = |answer: &Value, describe: fn(&Value) -> String| -> Result<(), Box<dyn Error>> {
        let text = if server.json { serde_json::to_string_pretty(answer)? } else { describe(answer) };
        Ok(output::print(&text)?)
    };
    let (operation, OutletArgs { outlet, wait }, force) = match command {
        PowerCommand::Drivers => {
            return show(&client.get(&["power", "drivers"], &[]).await?, describe_drivers);
        }
        PowerCommand::Scan { url, wait } => {
            let body = json!({ "url": url, "timeout_s": wait.timeout.as_secs() });
            return match client.post(&["power", "scan"], &body).await {
                Err(error) => match (failure(&error), server.json) {
                    (Some(answer), true) => show(answer, describe_scan).and(Err(error.into())),
                    (Some(_), false) | (None, _) => Err(error.into()),
                },
                Ok(answer) => finish(&answer, |answer| show(answer, describe_scan)),
            };
        }
        PowerCommand::Status(outlet) => ("status", outlet, false),
        PowerCommand::Test(outlet) => ("test", outlet, false),
        PowerCommand::On(SwitchArgs { outlet, force }) => ("on", outlet, force),
        PowerCommand::Off(SwitchArgs { outlet, force }) => ("off", outlet, force),
        PowerCommand::Cycle(SwitchArgs { outlet, force }) => ("cycle", outlet, force),
    };
    // The name of a board has neither colon nor slash.
    let target = if outlet.contains([':', '/']) { "url" } else { "board" };
    let body = json!({
        "operation": operation, target: outlet, "force": force, "timeout_s": wait.timeout.as_secs(),
    });
    match client.post(&["power"], &body).await {
        // Where it failed, what was read and how long it took is worth knowing too.
        Err(error) => match failure(&error) {
            Some(answer) => show(answer, describe_operation).and(Err(error.into())),
            None => Err(error.into()),
        },
        Ok(answer) => {
            output::warn_of(&answer);
            finish(&answer, |answer| show(answer, describe_operation))
        }
    }
}

/// The answer to an operation that began and failed; `None` for other errors.
fn failure(error: &ApiClientError) -> Option<&Value> {
    match error {
        ApiClientError::Refused { answer, .. } => (answer["outcome"] == "failed").then_some(answer),
        ApiClientError::NoAnswer { .. }
        | ApiClientError::NotLifeguard(_)
        | ApiClientError::BadUrl(_)
        | ApiClientError::BadName(_) => None,
    }
}

/// Shows the answer to an operation; one that has not ended is an error.
fn finish(
    answer: &Value,
    show: impl FnOnce(&Value) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    if answer["outcome"] != "pending" {
        return show(answer);
    }
    let instance = text(answer, "instance");
    let reason = answer["reason"].as_str().map(|reason| format!(", {reason}")).unwrap_or_default();
    let state = answer["action"].as_str().unwrap_or("ending");
    Err(format!(
        "not ended yet: {state}{reason}; `lifeguard instance why outlet {instance}` says what it waits for, and `lifeguard \
         instance send outlet {instance} rq-cancel` gives it up"
    )
    .into())
}

fn seconds(answer: &Value, key: &str) -> Option<String> {
    let span = Duration::try_from_secs_f64(answer[key].as_f64()?).ok()?;
    Some(duration(Duration::from_millis(u64::try_from(span.as_millis()).ok()?)))
}

/// What was read and how long it took, with the details that the driver gave.
fn describe_operation(answer: &Value) -> String {
    let observed = answer["observed"].as_str().unwrap_or("unknown");
    let result =
        answer["evidence"]["result"].as_str().map(|result| format!(": {result}")).unwrap_or_default();
    let mut rows = vec![
        row(["power".to_owned(), format!("{observed}{result}")]),
        row(["outlet".to_owned(), text(answer, "outlet")]),
    ];
    let mut add = |name: &str, text: String| {
        if !text.is_empty() {
            rows.push(row([name.to_owned(), text]));
        }
    };
    let boards = answer["boards"].as_array().into_iter().flatten().filter_map(Value::as_str);
    add("board", boards.collect::<Vec<_>>().join(", "));
    if answer["forced"] == true {
        add("forced", "Lifeguard looks after the board and may switch its power at any time".to_owned());
    }
    add("took", seconds(answer, "took_s").unwrap_or_default());
    if answer["queued_s"].as_f64().is_some_and(|queued_s| queued_s >= SHORTEST_SHOWN_QUEUED_S) {
        add("queued", seconds(answer, "queued_s").unwrap_or_default());
    }
    add("resource", text(answer, "resource"));
    let evidence = &answer["evidence"];
    add("watts", text(evidence, "watts"));
    add("answer", output::clipped(&text(evidence, "answer")));
    if answer["operation"] == "cycle" {
        for (name, key) in [("off at", "off_at"), ("on at", "on_at")] {
            add(name, local_time(evidence, key));
        }
    }
    if answer["capabilities"].is_object() {
        for (name, value) in describe_capabilities(&answer["capabilities"]) {
            add(name, value);
        }
    }
    output::table(&rows)
}

/// A span of time; empty for none.
fn nonzero(answer: &Value, key: &str) -> String {
    if answer[key].as_f64() == Some(0.0) { String::new() } else { seconds(answer, key).unwrap_or_default() }
}

/// What a driver can do with an outlet, in words.
fn describe_capabilities(capabilities: &Value) -> Vec<(&'static str, String)> {
    let reads = match capabilities["readback"].as_str() {
        Some("alone") => "by itself",
        Some("bank") => "together with its bank",
        _ => "not at all: what was switched is accepted, not observed",
    };
    let off = seconds(capabilities, "off_s").unwrap_or_default();
    let clients = if capabilities["one_client"] == true { "one at a time" } else { "any number" };
    vec![
        ("is read", reads.to_owned()),
        ("a cycle", format!("off for {off}, timed by the {}", text(capabilities, "cycle_timed_by"))),
        ("clients", clients.to_owned()),
        ("rest", nonzero(capabilities, "rest_s")),
        ("effect", nonzero(capabilities, "effect_s")),
    ]
}

fn describe_drivers(answer: &Value) -> String {
    let mut lines = Vec::new();
    for driver in answer["drivers"].as_array().into_iter().flatten() {
        let (form, about, example) = (text(driver, "form"), text(driver, "about"), text(driver, "example"));
        lines.push(format!("{}  {about}", text(driver, "scheme")));
        lines.push(format!("  form      {form}"));
        lines.push(format!("  example   {example}"));
        if let Some(scan) = driver["scan"].as_str() {
            lines.push(format!("  scan      {scan}"));
        }
    }
    lines.join("\n")
}

fn describe_scan(answer: &Value) -> String {
    let mut rows = vec![row(["POWER URL", "STATE", "BOARD"].map(str::to_owned))];
    for found in answer["outlets"].as_array().into_iter().flatten() {
        let board = found["board"].as_str().unwrap_or("unused").to_owned();
        let observed = match found["problem"].as_str() {
            Some(problem) => format!("{}: {}", text(found, "observed"), output::clipped(problem)),
            None => text(found, "observed"),
        };
        rows.push(row([text(found, "url"), observed, board]));
    }
    let took = seconds(answer, "took_s").map(|took| format!(", in {took}")).unwrap_or_default();
    format!("{}\nThe scan ended{took}: {}", output::table(&rows), output::shown(&text(answer, "ended_by")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_from_one_second_to_ten_minutes() {
        assert_eq!(timeout("10m"), Ok(MAX_TIMEOUT));
        for bad in ["999ms", "11m", "x"] {
            assert!(timeout(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_outlet_is_described_with_what_was_read_and_how_long_it_took() {
        let answer = json!({
            "operation": "off", "outlet": "modbus://relay-3.lab:502/5?unit=1", "boards": ["b5"], "took_s": 0.25,
            "queued_s": 2, "resource": "modbus://relay-3.lab:502", "observed": "off", "evidence": {},
        });
        let shown = describe_operation(&answer);
        assert!(shown.starts_with("power     off\n"), "{shown}");
        assert!(shown.contains("took      250ms") && shown.contains("queued    2s"), "{shown}");
    }

    #[test]
    fn an_outlet_that_was_not_read_is_unknown_and_says_why() {
        let blind = json!({ "operation": "on", "outlet": "x", "observed": "unknown",
                            "evidence": { "result": "accepted, not observed" } });
        assert!(describe_operation(&blind).starts_with("power   unknown: accepted, not observed\n"));
        let failed = json!({ "operation": "on", "outlet": "x" });
        assert_eq!(describe_operation(&failed), "power   unknown\noutlet  x");
    }

    #[test]
    fn an_operation_that_has_not_ended_is_an_error_that_says_where_to_look() {
        let answer = json!({ "outcome": "pending", "instance": "x-1", "action": "queued" });
        let error = finish(&answer, |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("queued") && error.contains("why outlet x-1"), "{error}");
    }
}

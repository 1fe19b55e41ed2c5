//! Running `lifeguard device`.

use std::cell::Cell;
use std::error::Error;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::bulk_forecast;
use super::fields::FieldChanges;
use super::for_each_board::{check_all_done, for_each_board, report_failure};
use super::list::{device_table, list_all};
use super::options::{DeviceAddOptions, DeviceCommand, DeviceOptions};
use crate::cli::api_client::ApiClient;
use crate::cli::describe::{describe_history, describe_instance, describe_outcome, local_time};
use crate::cli::output::{self, text};
use crate::cli::why;

/// Runs the command.
///
/// # Errors
///
/// Why the command failed, for people.
pub(in crate::cli) async fn run(options: DeviceOptions) -> Result<(), Box<dyn Error>> {
    let DeviceOptions { server, command } = options;
    let client = ApiClient::new(&server)?;
    let show = |answer: &Value, text: &dyn Fn(&Value) -> String| show(answer, server.json, text);
    match command {
        DeviceCommand::Add(add) => {
            let answer = client.post(&["devices"], &add_body(add)).await?;
            output::warn_of(&answer);
            show(&answer, &|answer| {
                format!("{} is registered, {}", text(answer, "name"), text(answer, "state"))
            })
        }
        DeviceCommand::Set { name, changes } => {
            let answer =
                client.call(Method::PATCH, &["devices", &name], &[], Some(&change_body(changes))).await?;
            output::warn_of(&answer);
            show(&answer, &|_| format!("{name} is changed"))
        }
        DeviceCommand::List { state, fields, image } => {
            let wanted = [("state", state), ("image", image)];
            let wanted = wanted.into_iter().filter_map(|(key, value)| Some((key, value?)));
            let query = wanted.chain(fields.0).collect();
            show(&list_all(&client, query).await?, &device_table)
        }
        DeviceCommand::Show { name } => {
            show(&client.get(&["devices", &name], &[]).await?, &describe_instance)
        }
        DeviceCommand::Why { names } => why_each(&client, &names, server.json).await,
        DeviceCommand::History { name, limit } => {
            let query = [("limit", limit.to_string())];
            show(&client.get(&["devices", &name, "history"], &query).await?, &describe_history)
        }
        DeviceCommand::Request(request) => {
            let (request, boards, body) = request.into_parts();
            let is_selected = boards.is_selection();
            let names = boards.names(&client).await?;
            let is_bulk = is_selected || names.len() > 1;
            if names.is_empty() {
                output::complain("no board matches");
            }
            // Later boards of one command get a later position in resource queues, so that other clients need not wait for all.
            let position = Cell::new(0_u16);
            let post = async |name: String| {
                let own = position.replace(position.get().saturating_add(1));
                let query: Vec<_> = (own > 0).then(|| ("position", own.to_string())).into_iter().collect();
                let path = ["devices", &name, "requests", request];
                client.call(Method::POST, &path, &query, Some(&body)).await
            };
            let done = for_each_board((&names, is_bulk), server.json, post, describe_outcome).await;
            if matches!(request, "rq-unlock" | "rq-cancel") {
                warn_of_power_off(&client, &names).await;
            }
            if is_bulk && !names.is_empty() {
                bulk_forecast::print(&client, &names, server.json).await?;
            }
            done
        }
        DeviceCommand::Force { name, from, to, reason } => {
            let body = json!({ "from": from, "to": to, "reason": reason });
            let answer = client.post(&["devices", &name, "force"], &body).await?;
            show(&answer, &|answer| format!("{name}: {}", describe_outcome(answer)))
        }
        DeviceCommand::Remove { names } => {
            let remove = async |name: String| {
                client.call(Method::DELETE, &["devices", &name], &[], None).await?;
                Ok(json!({ "outcome": "removed" }))
            };
            for_each_board((&names, names.len() > 1), server.json, remove, |_| "removed".to_owned()).await
        }
    }
}

/// Prints which of `names` have an outlet that was last read off: nothing switches it on by itself. What cannot be read is left
/// out, because the requests were answered.
async fn warn_of_power_off(client: &ApiClient, names: &[String]) {
    for name in names {
        let Ok(device) = client.get(&["devices", name], &[]).await else { continue };
        if device["observed_power"]["state"] == "off" {
            let at = local_time(&device["observed_power"], "at");
            output::complain(&format!(
                "warning: {name}: its outlet was last read off, at {at}; `lifeguard device reboot {name}` boots the board, \
                 `lifeguard power on {name} --force` only switches it on"
            ));
        }
    }
}

/// Prints an answer as JSON or as text.
fn show(answer: &Value, as_json: bool, text: &dyn Fn(&Value) -> String) -> Result<(), Box<dyn Error>> {
    let printed = if as_json { serde_json::to_string_pretty(answer)? } else { text(answer) };
    Ok(output::print(&printed)?)
}

/// Prints the explanation of each board.
async fn why_each(client: &ApiClient, names: &[String], as_json: bool) -> Result<(), Box<dyn Error>> {
    let (mut answered, mut failed) = (0, 0);
    for name in names {
        match client.get(&["devices", name, "why"], &[]).await {
            Ok(answer) => {
                if answered > 0 && !as_json {
                    output::print("")?;
                }
                answered += 1;
                show(&answer, as_json, &why::describe)?;
            }
            Err(error) => failed += report_failure(name, error, names.len() > 1)?,
        }
    }
    check_all_done(failed, names.len())
}

/// Only optional fields can be empty, which the server checks.
fn change_body(changes: FieldChanges) -> Value {
    let member = |(key, value): (&str, String)| {
        (key.to_owned(), if value.is_empty() { Value::Null } else { Value::from(value) })
    };
    changes.0.into_iter().map(member).collect::<Map<_, _>>().into()
}

fn add_body(add: DeviceAddOptions) -> Value {
    let DeviceAddOptions { name, fields } = add;
    let members = [("name", name)].into_iter().chain(fields.0);
    members.map(|(key, value)| (key.to_owned(), Value::from(value))).collect::<Map<_, _>>().into()
}

//! `lifeguard model list`, `show`, `load` and `predict`: the models that a server hosts.

use std::error::Error;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::api_client::{ApiClient, ServerOptions};
use super::super::describe::local_time;
use super::super::output::{self, describe_json_error, row, text};
use super::super::text_file::read_text;

/// The keys of a model that are shown first.
const FIRST_SHOWN_KEYS: [&str; 6] = ["name", "status", "error", "states", "team", "model"];

/// Options of `lifeguard model list`.
#[derive(Debug, Args)]
pub(super) struct ModelListOptions {
    #[command(flatten)]
    server: ServerOptions,
}

/// Options of `lifeguard model show` and `load`.
#[derive(Debug, Args)]
pub(super) struct ModelNameOptions {
    /// The model
    name: String,
    #[command(flatten)]
    server: ServerOptions,
}

/// Options of `lifeguard model predict`.
#[derive(Debug, Args)]
pub(super) struct ModelPredictOptions {
    /// The model
    name: String,
    /// The rows, as JSON: `[[91.5, 40, 4.71], [41, 0, 5.02]]`; `-` reads them from standard input
    #[arg(value_name = "ROWS", allow_hyphen_values = true)]
    values: String,
    #[command(flatten)]
    server: ServerOptions,
}

/// Lists the models.
pub(super) async fn list(options: ModelListOptions) -> Result<(), Box<dyn Error>> {
    let answer = ApiClient::new(&options.server)?.get(&["models"], &[]).await?;
    if options.server.json {
        return print_json(&answer);
    }
    let heading = ["MODEL", "STATUS", "STATES", "FILE", "ERROR"].map(str::to_owned);
    let models = answer["models"].as_array().into_iter().flatten();
    let models = models.map(|model| {
        // An invalid config may have neither.
        let file = [text(model, "team"), text(model, "model")].join("/");
        let file = file.trim_matches('/').to_owned();
        let error = output::clipped(&text(model, "error"));
        row([text(model, "name"), text(model, "status").replace('_', " "), states(model), file, error])
    });
    let rows: Vec<Vec<String>> = std::iter::once(row(heading)).chain(models).collect();
    Ok(output::print(&output::table(&rows))?)
}

/// Shows a model.
pub(super) async fn show(options: ModelNameOptions) -> Result<(), Box<dyn Error>> {
    let answer = ApiClient::new(&options.server)?.get(&["models", &options.name], &[]).await?;
    print(&answer, options.server.json)
}

/// Reloads a model, and shows it.
pub(super) async fn load(options: ModelNameOptions) -> Result<(), Box<dyn Error>> {
    let path = ["models", options.name.as_str(), "load"];
    let answer = ApiClient::new(&options.server)?.call(Method::POST, &path, &[], None).await?;
    print(&answer, options.server.json)
}

/// Prints the state of each row, a line each.
pub(super) async fn predict(options: ModelPredictOptions) -> Result<(), Box<dyn Error>> {
    let mut rows = options.values;
    if rows == "-" {
        rows = read_text(std::io::stdin()).map_err(|error| format!("standard input: {error}"))?;
    }
    let values: Value = serde_json::from_str(&rows).map_err(|error| {
        let reason = describe_json_error(&error);
        format!("ROWS: a JSON list of rows is needed, such as [[1, 2.5], [3, 4]]: {reason}")
    })?;
    let path = ["models", options.name.as_str(), "predictions"];
    let answer = ApiClient::new(&options.server)?.post(&path, &json!({ "values": values })).await?;
    if options.server.json {
        return print_json(&answer);
    }
    let states = answer["states"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for state in states {
        output::print(&output::shown(state))?;
    }
    Ok(())
}

fn print(model: &Value, json: bool) -> Result<(), Box<dyn Error>> {
    if json {
        return print_json(model);
    }
    let is_first = |key: &str| FIRST_SHOWN_KEYS.contains(&key);
    let rest =
        model.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).filter(|key| !is_first(key));
    let keys = FIRST_SHOWN_KEYS.into_iter().chain(rest).filter(|key| !model[key].is_null());
    let rows: Vec<Vec<String>> = keys
        .map(|key| {
            let value = match key {
                "states" => states(model),
                "loaded_at" => local_time(model, key),
                _ => text(model, key),
            };
            row([key.replace('_', " "), value])
        })
        .collect();
    Ok(output::print(&output::table(&rows))?)
}

fn states(model: &Value) -> String {
    let states = model["states"].as_array().into_iter().flatten().filter_map(Value::as_str);
    states.collect::<Vec<_>>().join(", ")
}

fn print_json(answer: &Value) -> Result<(), Box<dyn Error>> {
    Ok(output::print(&serde_json::to_string_pretty(answer)?)?)
}

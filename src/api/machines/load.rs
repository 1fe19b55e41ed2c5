//! Putting a definition in force.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::put;
use serde::Deserialize;
use serde_json::{Value, json};

use super::checking::read;
use crate::activation::{Difference, Rearm};
use crate::api::client::{Client, Sender};
use crate::api::context::{Api, Routes};
use crate::api::definition_text::DefinitionText;
use crate::api::problem::Problem;
use crate::api::query::Parameters;
use crate::engine::{CarriedOver, EngineError, Loaded, Provenance, Replacement, Stranded};

/// How many stranded instances an answer names.
const MAX_STRANDED: usize = 1000;

/// The routes of this file.
pub(in crate::api) fn routes() -> Routes {
    let of_check = |api: State<Arc<Api>>, query, sender: Sender, client: Client, text| {
        load(api, Path("check".to_owned()), query, sender, client, text)
    };
    vec![
        ("/api/v1/machines/{machine}", put(load)),
        // A machine may be called so.
        ("/api/v1/machines/check", put(of_check)),
    ]
}

/// What may be said of a definition that is to be put in force.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadQuery {
    /// Only say what it would do.
    #[serde(default)]
    dry_run: bool,
}

/// `PUT /api/v1/machines/{machine}`: puts the definition that is the body in force, for all servers at one moment; with
/// `?dry_run=true` it only says what that would do.
async fn load(
    State(api): State<Arc<Api>>,
    Path(machine): Path<String>,
    Parameters(LoadQuery { dry_run }): Parameters<LoadQuery>,
    Sender(sender): Sender,
    client: Client,
    DefinitionText { text, permit }: DefinitionText,
) -> Result<Json<Value>, Problem> {
    let (definition, source) = read(api.engine.vocabulary(), &machine, text, client, &permit).await?;
    let loaded = Loaded { source, definition: Arc::new(definition), from: Provenance::Loaded };
    if dry_run {
        return Ok(Json(replacement(&api.engine.try_out(&loaded).await?, false)));
    }
    match api.engine.adopt(&loaded, sender.as_deref()).await {
        Ok(done) => Ok(Json(replacement(&done, true))),
        Err(error @ EngineError::Strands { .. }) => {
            let EngineError::Strands { stranded, .. } = &error else { return Err(error.into()) };
            let named: Vec<Value> = stranded.iter().take(MAX_STRANDED).map(stranded_one).collect();
            let problem = Problem::new(StatusCode::CONFLICT, "strands", error.to_string());
            Err(problem.with("stranded", named).with("instances", stranded.len()))
        }
        Err(error) => Err(error.into()),
    }
}

fn stranded_one(one: &Stranded) -> Value {
    json!({ "name": one.name, "state": one.state })
}

fn replacement(replacement: &Replacement, is_done: bool) -> Value {
    let Replacement { machine, was, number, digest, difference, carried, stranded } = replacement;
    let is_same = was.as_ref().is_some_and(|was| was.digest == *digest);
    let none = Difference::default();
    json!({
        "machine": machine,
        "number": number,
        "digest": digest,
        "was": was.as_ref().map(|was| was.number),
        "in_force": is_done || is_same,
        "changed": is_done && !is_same,
        "difference": difference.as_ref().unwrap_or(&none),
        "carried_over": carried.iter().map(carried_over).collect::<Vec<_>>(),
        "stranded": stranded.iter().take(MAX_STRANDED).map(stranded_one).collect::<Vec<_>>(),
        "stranded_instances": stranded.len(),
    })
}

fn carried_over(one: &CarriedOver) -> Value {
    let deadline = match one.carried.deadline {
        Rearm::Keep => "stays".to_owned(),
        Rearm::Disarm => "ends".to_owned(),
        Rearm::At(at) => format!("is at {}", at.format("%Y-%m-%dT%H:%M:%SZ")),
        Rearm::Shift(by) => {
            let span = humantime::format_duration(by.abs().to_std().unwrap_or_default());
            format!("is {span} {}", if by < chrono::TimeDelta::zero() { "earlier" } else { "later" })
        }
        Rearm::Arm(after) => {
            format!("runs from now: {}", humantime::format_duration(after.to_std().unwrap_or_default()))
        }
    };
    json!({ "state": one.state, "to": one.carried.to, "instances": one.instances, "deadline": deadline })
}

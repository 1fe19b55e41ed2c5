//! Activates a definition.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::put;
use serde::Deserialize;
use serde_json::{Value, json};

use super::background_check::read_definition;
use crate::activation::{DeadlineAdjustment, Difference};
use crate::api::client::{ClientKey, RequestSender};
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::definition_text::DefinitionText;
use crate::api::problem::Problem;
use crate::api::query_parameters::QueryParameters;
use crate::engine::{
    ActivationReport, CarriedOverInstances, DefinitionOrigin, EngineError, LoadedDefinition, StrandedInstance,
};
use crate::formatting;

/// The maximum number of stranded instances that an answer names.
const MAX_NAMED_STRANDED: usize = 1000;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    let of_check = |api: State<Arc<ApiContext>>, query, sender: RequestSender, client: ClientKey, text| {
        load(api, Path("check".to_owned()), query, sender, client, text)
    };
    vec![
        ("/api/v1/machines/{machine}", put(load)),
        // `check` is a valid name of a machine.
        ("/api/v1/machines/check", put(of_check)),
    ]
}

/// The query of `load`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadDefinitionQuery {
    /// Only report what the activation would do.
    #[serde(default)]
    dry_run: bool,
}

/// `PUT /api/v1/machines/{machine}`: activates the definition in the body, for all servers at the same moment; with
/// `?dry_run=true` it only reports what that would do.
async fn load(
    State(api): State<Arc<ApiContext>>,
    Path(machine): Path<String>,
    QueryParameters(LoadDefinitionQuery { dry_run }): QueryParameters<LoadDefinitionQuery>,
    RequestSender(sender): RequestSender,
    client: ClientKey,
    DefinitionText { text, permit }: DefinitionText,
) -> Result<Json<Value>, Problem> {
    let (definition, source) =
        read_definition(api.engine.vocabulary(), &machine, text, client, &permit).await?;
    let loaded =
        LoadedDefinition { source, definition: Arc::new(definition), provenance: DefinitionOrigin::Loaded };
    if dry_run {
        return Ok(Json(activation_view(&api.engine.preview_activation(&loaded).await?, false)));
    }
    match api.engine.activate(&loaded, sender.as_deref()).await {
        Ok(report) => Ok(Json(activation_view(&report, true))),
        Err(error @ EngineError::StrandsInstances { .. }) => {
            let EngineError::StrandsInstances { stranded, .. } = &error else { return Err(error.into()) };
            let named: Vec<Value> = stranded.iter().take(MAX_NAMED_STRANDED).map(stranded_view).collect();
            let problem = Problem::new(StatusCode::CONFLICT, "strands", error.to_string());
            Err(problem.with("stranded", named).with("stranded_instances", stranded.len()))
        }
        Err(error) => Err(error.into()),
    }
}

fn stranded_view(instance: &StrandedInstance) -> Value {
    json!({ "name": instance.name, "state": instance.state })
}

fn activation_view(report: &ActivationReport, is_done: bool) -> Value {
    let ActivationReport { machine, previous, number, digest, difference, carried_over, stranded } = report;
    let is_same = previous.as_ref().is_some_and(|previous| previous.digest == *digest);
    let no_difference = Difference::default();
    json!({
        "machine": machine,
        "definition": number,
        "digest": digest,
        "previous": previous.as_ref().map(|previous| previous.number),
        "active": is_done || is_same,
        "changed": is_done && !is_same,
        "difference": difference.as_ref().unwrap_or(&no_difference),
        "carried_over": carried_over.iter().map(carried_over_view).collect::<Vec<_>>(),
        "stranded": stranded.iter().take(MAX_NAMED_STRANDED).map(stranded_view).collect::<Vec<_>>(),
        "stranded_instances": stranded.len(),
    })
}

fn carried_over_view(group: &CarriedOverInstances) -> Value {
    let deadline = match group.carried.deadline {
        DeadlineAdjustment::Keep => "stays".to_owned(),
        DeadlineAdjustment::Disarm => "ends".to_owned(),
        DeadlineAdjustment::At(at) => format!("is at {}", at.format("%Y-%m-%dT%H:%M:%SZ")),
        DeadlineAdjustment::Shift(by) => {
            let span = formatting::duration(by.abs().to_std().unwrap_or_default());
            format!("is {span} {}", if by < chrono::TimeDelta::zero() { "earlier" } else { "later" })
        }
        DeadlineAdjustment::Arm(after) => {
            format!("runs from now: {}", formatting::duration(after.to_std().unwrap_or_default()))
        }
    };
    json!({ "state": group.state, "to": group.carried.to, "instances": group.instances, "deadline": deadline })
}

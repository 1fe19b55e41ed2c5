//! Incidents: resources that do not answer, and the instances that wait for them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::RequestSender;
use super::context::{ApiContext, ApiRoutes};
use super::etag::tagged;
use super::json_body::JsonObject;
use super::problem::Problem;
use super::query_parameters::QueryParameters;
use crate::engine::{IncidentFilter, IncidentView};

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![
        ("/api/v1/incidents", get(list)),
        ("/api/v1/incidents/{name}", get(show)),
        ("/api/v1/incidents/{name}/close", post(close)),
    ]
}

/// The query of `list`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IncidentsQuery {
    /// Whether closed ones are listed too.
    #[serde(default)]
    all: bool,
}

/// An incident with the instances that wait.
#[derive(Debug, Serialize)]
struct IncidentDetails {
    #[serde(flatten)]
    incident: IncidentView,
    /// The names of the instances that wait for the resource, in order.
    queue: Vec<String>,
}

/// `GET /api/v1/incidents?all=`: the open incidents; with `all=true` also the last one of each other resource.
async fn list(
    State(api): State<Arc<ApiContext>>,
    QueryParameters(IncidentsQuery { all }): QueryParameters<IncidentsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let filter = if all { IncidentFilter::All } else { IncidentFilter::Open };
    Ok(tagged(&headers, &json!({ "incidents": api.engine.incidents(filter).await? })))
}

/// `GET /api/v1/incidents/{name}`: one incident, by its name or by its resource.
async fn show(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let incident = find(&api, &name).await?;
    let queue = api.engine.incident_queue(&incident.name).await?;
    Ok(tagged(&headers, &IncidentDetails { incident, queue }))
}

/// `POST /api/v1/incidents/{name}/close`: closes it, although the resource has not answered. The body can have a `reason`.
async fn close(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    RequestSender(sender): RequestSender,
    JsonObject(body): JsonObject,
) -> Result<Json<IncidentView>, Problem> {
    if let Some(key) = body.keys().find(|key| *key != "reason") {
        return Err(Problem::invalid(format!("unknown field `{key}`, expected `reason`")));
    }
    let reason = match body.get("reason") {
        None => None,
        Some(reason) => {
            Some(reason.as_str().ok_or_else(|| Problem::invalid("reason: expected a string"))?.to_owned())
        }
    };
    let incident = find(&api, &name).await?;
    if !api.engine.close_incident(&incident.name, sender, reason).await? {
        let detail = format!("the incident at {} is not open", incident.resource);
        return Err(Problem::new(StatusCode::CONFLICT, "not_accepted", detail));
    }
    Ok(Json(find(&api, &incident.name).await?))
}

async fn find(api: &ApiContext, name: &str) -> Result<IncidentView, Problem> {
    let mut all = api.engine.incidents(IncidentFilter::All).await?.into_iter();
    all.find(|incident| incident.name == name || incident.resource == name).ok_or_else(|| {
        let detail = format!("no such incident: there has been none at {name:?}");
        Problem::new(StatusCode::NOT_FOUND, "no_incident", detail)
    })
}

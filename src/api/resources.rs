//! Resources: limits, holders, queue and forecast.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::ClientKey;
use super::context::{ApiContext, ApiRoutes};
use super::etag::tagged;
use super::json_body::JsonBody;
use super::problem::Problem;
use crate::engine::{LimitOverrides, ResourceView};

/// The longest name of a resource, in bytes.
const MAX_NAME_BYTES: usize = 500;
/// The longest gap and settle time, in seconds: a day.
const MAX_LIMIT_SPAN_S: f64 = 86_400.0;

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![("/api/v1/resources", get(list)), ("/api/v1/resources/{name}", get(show).put(set))]
}

/// The limits that an operator sets; for those that are missing or null, the limits of the claims apply.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLimitsBody {
    capacity: Option<u32>,
    gap_s: Option<f64>,
    settle_s: Option<f64>,
}

/// A resource after its limits were set.
#[derive(Debug, Serialize)]
struct SavedResourceView {
    #[serde(flatten)]
    resource: ResourceView,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// `GET /api/v1/resources`: all resources that were claimed or have limits set by an operator.
async fn list(
    State(api): State<Arc<ApiContext>>,
    client: ClientKey,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let _permit = api.snapshot_permits.acquire(client).await?;
    Ok(tagged(&headers, &json!({ "resources": api.engine.resources(None).await? })))
}

/// `GET /api/v1/resources/{name}`: one resource.
async fn show(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    client: ClientKey,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(tagged(&headers, &find(&api, client, &name).await?))
}

/// `PUT /api/v1/resources/{name}`: an operator sets its limits, in place of those set before.
async fn set(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    client: ClientKey,
    JsonBody(NewLimitsBody { capacity, gap_s, settle_s }): JsonBody<NewLimitsBody>,
) -> Result<Json<SavedResourceView>, Problem> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(Problem::invalid("name: 1 to 500 bytes without control characters"));
    }
    if capacity.is_some_and(|units| i32::try_from(units).is_err()) {
        return Err(Problem::invalid("capacity: at most 2147483647"));
    }
    let limits = LimitOverrides {
        capacity,
        gap_ms: millis("gap_s", gap_s)?,
        settle_ms: millis("settle_s", settle_s)?,
    };
    let warnings = api.boards.warn_of_resource(&name).await?.into_iter().collect();
    api.engine.set_limits(&name, limits).await?;
    Ok(Json(SavedResourceView { resource: find(&api, client, &name).await?, warnings }))
}

async fn find(api: &ApiContext, client: ClientKey, name: &str) -> Result<ResourceView, Problem> {
    let no_such = || {
        let detail = format!("no such resource: {name:?} has not been claimed, and no limits are set");
        Problem::new(StatusCode::NOT_FOUND, "no_resource", detail)
    };
    if name.contains('\0') {
        return Err(no_such());
    }
    let _permit = api.snapshot_permits.acquire(client).await?;
    api.engine.resources(Some(name)).await?.pop().ok_or_else(no_such)
}

fn millis(what: &str, seconds: Option<f64>) -> Result<Option<u64>, Problem> {
    let Some(seconds) = seconds else { return Ok(None) };
    if !(0.0..=MAX_LIMIT_SPAN_S).contains(&seconds) {
        return Err(Problem::invalid(format!("{what}: 0 to 86400")));
    }
    let span = std::time::Duration::from_secs_f64(seconds);
    Ok(Some(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
}

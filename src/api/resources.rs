//! Resources: limits, holders, queue and forecast.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

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
use super::resource_file;
use crate::boards::{
    MAX_LIMIT_SPAN, MAX_MIN_OFF, MAX_RESOURCE_ABOUT_BYTES, from_ampere, refuse_resource_name,
};
use crate::engine::{ResourceView, SettingChange, SettingsPatch, SettingsUpdate};
use crate::formatting::duration;

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![
        ("/api/v1/resources", get(list).put(resource_file::import)),
        ("/api/v1/queue", get(queue)),
        ("/api/v1/resources/{name}", get(show).put(set).patch(change).delete(remove)),
    ]
}

/// What an operator sets; null unsets.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SettingsBody {
    capacity: SettingChange<u32>,
    gap_s: SettingChange<f64>,
    settle_s: SettingChange<f64>,
    window_s: SettingChange<f64>,
    budget_a: SettingChange<f64>,
    min_off_s: SettingChange<f64>,
    within: SettingChange<String>,
    about: SettingChange<String>,
}

impl SettingsBody {
    /// The same settings, where missing ones are unset.
    fn complete(self) -> Self {
        Self {
            capacity: self.capacity.or_unset(),
            gap_s: self.gap_s.or_unset(),
            settle_s: self.settle_s.or_unset(),
            window_s: self.window_s.or_unset(),
            budget_a: self.budget_a.or_unset(),
            min_off_s: self.min_off_s.or_unset(),
            within: self.within.or_unset(),
            about: self.about.or_unset(),
        }
    }

    fn into_patch(self) -> Result<SettingsPatch, Problem> {
        let span = |name, span: SettingChange<f64>, max| span.try_map(|span| millis(name, span, max));
        let invalid = |name: &str, reason: &str| Problem::invalid(format!("{name}: {reason}"));
        Ok(SettingsPatch {
            capacity: self.capacity.try_map(|units| match i32::try_from(units) {
                Ok(_) => Ok(units),
                Err(_) => Err(invalid("capacity", "at most 2147483647")),
            })?,
            gap_ms: span("gap_s", self.gap_s, MAX_LIMIT_SPAN)?,
            settle_ms: span("settle_s", self.settle_s, MAX_LIMIT_SPAN)?,
            window_ms: span("window_s", self.window_s, MAX_LIMIT_SPAN)?,
            budget_ma: self
                .budget_a
                .try_map(|ampere| from_ampere(ampere).map_err(|error| invalid("budget_a", &error)))?,
            min_off_ms: span("min_off_s", self.min_off_s, MAX_MIN_OFF)?,
            within: unset_empty(self.within).try_map(|within| match refuse_resource_name(&within) {
                Some(refusal) => Err(invalid("within", refusal)),
                None => Ok(within),
            })?,
            about: unset_empty(self.about).try_map(|about| {
                let is_short = about.len() <= MAX_RESOURCE_ABOUT_BYTES;
                if is_short { Ok(about) } else { Err(invalid("about", "at most 500 bytes")) }
            })?,
        })
    }
}

/// An empty text unsets.
fn unset_empty(change: SettingChange<String>) -> SettingChange<String> {
    match change {
        SettingChange::Set(text) if text.is_empty() => SettingChange::Unset,
        SettingChange::Set(_) | SettingChange::Keep | SettingChange::Unset => change,
    }
}

/// A resource after its settings were changed.
#[derive(Debug, Serialize)]
struct SavedResourceView {
    #[serde(flatten)]
    resource: ResourceView,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// `GET /api/v1/resources`: all resources that were claimed, or that something is set for; `?format=yaml` answers with the
/// settings as a file.
async fn list(
    State(api): State<Arc<ApiContext>>,
    query: resource_file::FormatQuery,
    client: ClientKey,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let _permit = api.snapshot_permits.acquire(client).await?;
    if query.is_yaml() {
        return resource_file::export(&api).await;
    }
    Ok(tagged(&headers, &json!({ "resources": api.engine.resources(None).await? })))
}

/// `GET /api/v1/queue`: all actions that wait for resources, in the order of their queues.
async fn queue(
    State(api): State<Arc<ApiContext>>,
    client: ClientKey,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let _permit = api.snapshot_permits.acquire(client).await?;
    Ok(tagged(&headers, &json!({ "queue": api.engine.queued_actions().await? })))
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

/// `PUT /api/v1/resources/{name}`: an operator sets its limits and what contains it, in place of those set before.
async fn set(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    client: ClientKey,
    JsonBody(body): JsonBody<SettingsBody>,
) -> Result<Json<SavedResourceView>, Problem> {
    update(&api, client, name, body.complete()).await
}

/// `PATCH /api/v1/resources/{name}`: an operator changes some settings; null unsets one.
async fn change(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    client: ClientKey,
    JsonBody(body): JsonBody<SettingsBody>,
) -> Result<Json<SavedResourceView>, Problem> {
    update(&api, client, name, body).await
}

async fn update(
    api: &ApiContext,
    client: ClientKey,
    name: String,
    body: SettingsBody,
) -> Result<Json<SavedResourceView>, Problem> {
    if let Some(refusal) = refuse_resource_name(&name) {
        return Err(Problem::invalid(refusal));
    }
    let patch = body.into_patch()?;
    let warnings = api.boards.warn_of_resources(std::slice::from_ref(&name), &BTreeSet::new()).await?;
    api.engine.update_resources(SettingsUpdate::Patch(name.clone(), patch)).await?;
    Ok(Json(SavedResourceView { resource: find(api, client, &name).await?, warnings }))
}

/// `DELETE /api/v1/resources/{name}`: nothing is set for it any more, and it is forgotten if nothing uses it.
async fn remove(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    client: ClientKey,
) -> Result<StatusCode, Problem> {
    find(&api, client, &name).await?;
    api.engine.update_resources(SettingsUpdate::Remove(name)).await?;
    Ok(StatusCode::NO_CONTENT)
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

fn millis(what: &str, seconds: f64, max: Duration) -> Result<u64, Problem> {
    if !(0.0..=max.as_secs_f64()).contains(&seconds) {
        return Err(Problem::invalid(format!("{what}: 0 to {}, which is {}", max.as_secs(), duration(max))));
    }
    let span = Duration::from_secs_f64(seconds);
    Ok(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

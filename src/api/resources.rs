//! Resources: limits, holders, queue and forecast.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::{Deserialize, Deserializer, Serialize};
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
use crate::engine::{ResourceView, SettingsPatch, SettingsUpdate};
use crate::formatting::duration;

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![
        ("/api/v1/resources", get(list).put(resource_file::import)),
        ("/api/v1/queue", get(queue)),
        ("/api/v1/resources/{name}", get(show).put(set).patch(change).delete(remove)),
    ]
}

/// What an operator sets; `Some(None)` is null.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsBody {
    #[serde(default, deserialize_with = "given")]
    capacity: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    gap_s: Option<Option<f64>>,
    #[serde(default, deserialize_with = "given")]
    settle_s: Option<Option<f64>>,
    #[serde(default, deserialize_with = "given")]
    window_s: Option<Option<f64>>,
    #[serde(default, deserialize_with = "given")]
    budget_a: Option<Option<f64>>,
    #[serde(default, deserialize_with = "given")]
    min_off_s: Option<Option<f64>>,
    #[serde(default, deserialize_with = "given")]
    within: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    about: Option<Option<String>>,
}

/// Distinguishes null from a missing member.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(value).map(Some)
}

impl SettingsBody {
    /// The same settings, where missing ones are null.
    fn complete(self) -> Self {
        Self {
            capacity: self.capacity.or(Some(None)),
            gap_s: self.gap_s.or(Some(None)),
            settle_s: self.settle_s.or(Some(None)),
            window_s: self.window_s.or(Some(None)),
            budget_a: self.budget_a.or(Some(None)),
            min_off_s: self.min_off_s.or(Some(None)),
            within: self.within.or(Some(None)),
            about: self.about.or(Some(None)),
        }
    }

    fn into_patch(self) -> Result<SettingsPatch, Problem> {
        if self.capacity.flatten().is_some_and(|units| i32::try_from(units).is_err()) {
            return Err(Problem::invalid("capacity: at most 2147483647"));
        }
        let span =
            |name, span: Option<Option<f64>>, max| span.map(|span| millis(name, span, max)).transpose();
        let current = |ampere: Option<f64>| ampere.map(from_ampere).transpose();
        let budget_ma = self.budget_a.map(current).transpose();
        let within = self.within.map(|within| within.filter(|within| !within.is_empty()));
        if let Some(refusal) = within.as_ref().and_then(|name| refuse_resource_name(name.as_deref()?)) {
            return Err(Problem::invalid(format!("within: {refusal}")));
        }
        let about = self.about.map(|about| about.filter(|about| !about.is_empty()));
        if about.as_ref().and_then(Option::as_ref).is_some_and(|about| about.len() > MAX_RESOURCE_ABOUT_BYTES)
        {
            return Err(Problem::invalid("about: at most 500 bytes"));
        }
        Ok(SettingsPatch {
            capacity: self.capacity,
            gap_ms: span("gap_s", self.gap_s, MAX_LIMIT_SPAN)?,
            settle_ms: span("settle_s", self.settle_s, MAX_LIMIT_SPAN)?,
            window_ms: span("window_s", self.window_s, MAX_LIMIT_SPAN)?,
            budget_ma: budget_ma.map_err(|error| Problem::invalid(format!("budget_a: {error}")))?,
            min_off_ms: span("min_off_s", self.min_off_s, MAX_MIN_OFF)?,
            within,
            about,
        })
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

fn millis(what: &str, seconds: Option<f64>, max: Duration) -> Result<Option<u64>, Problem> {
    let Some(seconds) = seconds else { return Ok(None) };
    if !(0.0..=max.as_secs_f64()).contains(&seconds) {
        return Err(Problem::invalid(format!("{what}: 0 to {}, which is {}", max.as_secs(), duration(max))));
    }
    let span = Duration::from_secs_f64(seconds);
    Ok(Some(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
}

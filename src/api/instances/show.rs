//! Showing one instance, when it has changed where that is asked for.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::lookup::{find, machine_of};
use super::view::view;
use crate::api::client::ClientKey;
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::etag::{known_tags, not_modified};
use crate::api::problem::Problem;
use crate::api::query_parameters::QueryParameters;
use crate::api::wait;
use crate::store::batches::VersionedInstance;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/{instance}", get(show))]
}

/// How an instance is to be shown.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InstanceShowQuery {
    /// How long to wait for it to be another than `If-None-Match` says.
    wait: Option<String>,
}

/// `GET /api/v1/machines/{machine}/{instance}?wait=`: an instance in full. With `If-None-Match` and `wait` the answer comes
/// when it has changed, or is 304 after that time.
async fn show(
    State(api): State<Arc<ApiContext>>,
    Path((machine, name)): Path<(String, String)>,
    QueryParameters(InstanceShowQuery { wait }): QueryParameters<InstanceShowQuery>,
    client: ClientKey,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let machine = machine_of(&api, &machine)?;
    let known: Vec<&str> = known_tags(&headers).collect();
    let is_news =
        |seen: &VersionedInstance| !known.iter().any(|tag| *tag == "*" || *tag == api.engine.tag(seen));
    let seen = match wait {
        Some(text) => wait::until(&api, client, wait::parse(&text)?, (&machine, &name), is_news).await?,
        None => find(&api, &machine, &name).await?,
    };
    if is_news(&seen) { view(&api, &seen) } else { Ok(not_modified(&api.engine.tag(&seen))) }
}

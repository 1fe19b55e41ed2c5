//! Shows one instance, on request only after it has changed.

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
use crate::api::etag::{KnownTags, not_modified};
use crate::api::problem::Problem;
use crate::api::query_parameters::QueryParameters;
use crate::api::wait;
use crate::store::batches::VersionedInstance;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/{instance}", get(show))]
}

/// The query of `show`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InstanceShowQuery {
    /// How long to wait until the instance differs from the one that `If-None-Match` names.
    wait: Option<String>,
}

/// `GET /api/v1/machines/{machine}/{instance}?wait=`: an instance in full. With `If-None-Match` and `wait`, the answer is
/// sent once the instance has changed; after `wait` it is 304.
async fn show(
    State(api): State<Arc<ApiContext>>,
    Path((machine, name)): Path<(String, String)>,
    QueryParameters(InstanceShowQuery { wait }): QueryParameters<InstanceShowQuery>,
    client: ClientKey,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let machine = machine_of(&api, &machine)?;
    let known = KnownTags::of(&headers);
    let is_modified = |instance: &VersionedInstance| !known.contain(&api.engine.tag(instance));
    let instance = match wait {
        Some(text) => wait::until(&api, client, wait::parse(&text)?, (&machine, &name), is_modified).await?,
        None => find(&api, &machine, &name).await?,
    };
    if is_modified(&instance) {
        view(&api, &instance, None)
    } else {
        Ok(not_modified(&api.engine.tag(&instance)))
    }
}

//! Removes an instance.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::delete;

use super::lookup::removable_machine;
use crate::api::client::RequestSender;
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::etag::tag_condition;
use crate::api::problem::Problem;
use crate::engine::EngineError;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/{instance}", delete(remove))]
}

/// `DELETE /api/v1/machines/{machine}/{instance}`: removes an instance; with `If-Match` only if its tag matches.
async fn remove(
    State(api): State<Arc<ApiContext>>,
    Path((machine, name)): Path<(String, String)>,
    RequestSender(sender): RequestSender,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let machine = removable_machine(&api, &machine)?;
    if api.shared_instance.as_ref().is_some_and(|(shared, of)| *shared == machine && *of == name) {
        let detail = "this server shares the instance at /state";
        return Err(Problem::new(StatusCode::CONFLICT, "is_shared", detail));
    }
    if name.contains('\0') {
        return Err(Problem::no_instance(&machine, &name));
    }
    match api.engine.remove(&machine, &name, tag_condition(&headers).as_ref(), sender).await {
        Err(EngineError::NoInstance(_)) => Err(Problem::no_instance(&machine, &name)),
        result => Ok(result.map(|()| StatusCode::NO_CONTENT)?),
    }
}

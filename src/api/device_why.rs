//! Why a board is in its state.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;

use super::context::{ApiContext, ApiRoutes};
use super::problem::Problem;
use crate::engine::InstanceExplanation;

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![("/api/v1/devices/{name}/why", get(show))]
}

/// `GET /api/v1/devices/{name}/why`: what it waits for, its deadline and what follows, as data and in sentences.
async fn show(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
) -> Result<Json<InstanceExplanation>, Problem> {
    Ok(Json(api.engine.why(&api.machine, &name).await?))
}

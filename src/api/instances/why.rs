//! Why an instance is in its state.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;

use super::lookup::machine_of;
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::problem::Problem;
use crate::engine::{EngineError, InstanceExplanation};

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/{instance}/why", get(why))]
}

/// `GET /api/v1/machines/{machine}/{instance}/why`: why it is in its state, as data and in sentences.
async fn why(
    State(api): State<Arc<ApiContext>>,
    Path((machine, name)): Path<(String, String)>,
) -> Result<Json<InstanceExplanation>, Problem> {
    let machine = machine_of(&api, &machine)?;
    match api.engine.why(&machine, &name).await {
        Err(EngineError::NoInstance(_)) => Err(Problem::no_instance(&machine, &name)),
        why => Ok(Json(why?)),
    }
}

//! Liveness and readiness.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

use super::context::{ApiContext, ApiRoutes};
use super::problem::Problem;

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![("/healthz", get(alive)), ("/readyz", get(ready))]
}

/// `GET /healthz`: the process is alive.
async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive", "version": env!("CARGO_PKG_VERSION") }))
}

/// `GET /readyz`: the database accepts the writes of events, and the boot tree is readable. Local faults that keep this
/// process from running actions are listed in `troubles`: another process may run them, and requests are served.
async fn ready(State(api): State<Arc<ApiContext>>) -> Result<Json<Value>, Problem> {
    api.engine.store().ready().await?;
    if let Some(fault) = api.boards.boot_fault() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "boot_tree_unreadable", fault));
    }
    let troubles = api.engine.troubles();
    if troubles.is_empty() {
        return Ok(Json(json!({ "status": "ready" })));
    }
    Ok(Json(json!({ "status": "ready", "troubles": troubles })))
}

//! Whether the process lives, and whether it can do its work.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Api, Problem};

/// `GET /healthz`: the process lives.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive", "version": env!("CARGO_PKG_VERSION") }))
}

/// `GET /readyz`: the database answers and takes what events need, and the boot tree can be read. What stands in the way of this process's actions is
/// told beside: another process may carry them out, and requests and reports are served all the same.
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Result<Json<Value>, Problem> {
    api.engine.store().ready().await?;
    if let Some(fault) = api.engine.boot_fault() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "boot_tree_unreadable", fault));
    }
    let troubles = api.engine.troubles();
    if troubles.is_empty() {
        return Ok(Json(json!({ "status": "ready" })));
    }
    Ok(Json(json!({ "status": "ready", "troubles": troubles })))
}

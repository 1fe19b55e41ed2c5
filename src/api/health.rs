//! Whether the process lives, and whether it can do its work.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Api, Problem};
use crate::engine::Engine;

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

/// Answers a request that waits for the database as soon as that is found to be away.
pub(super) async fn until_lost(State(engine): State<Engine>, request: Request, next: Next) -> Response {
    tokio::select! {
        biased;
        response = next.run(request) => response,
        error = engine.store().lost() => Problem::from(error).into_response(),
    }
}

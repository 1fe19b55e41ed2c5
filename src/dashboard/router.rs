//! The routes of the pages: one line each.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;

use super::context::DashboardContext;
use super::error_pages::database_error_page;
use super::layout::add_page_policy;
use super::{board, boards, lifecycle, resources};
use crate::engine::Engine;
use crate::machine::MachineName;

/// Returns the routes of the pages.
pub fn router(engine: Engine, machine: MachineName) -> Router {
    let pages =
        DashboardContext { engine, machine, overview: Arc::default(), resource_reading: Arc::default() };
    Router::new()
        .route("/", get(boards::show))
        .route("/devices/{name}", get(board::show))
        .route("/lifecycle", get(lifecycle::show))
        .route("/resources", get(resources::show))
        .layer(middleware::from_fn_with_state(pages.clone(), unless_database_lost))
        .layer(middleware::from_fn(add_page_policy))
        .with_state(pages)
}

/// Answers that the database is unavailable as soon as its loss is detected, also while a page waits for it.
async fn unless_database_lost(
    State(pages): State<DashboardContext>,
    request: Request,
    next: Next,
) -> Response {
    let now = pages.engine.clock().now();
    tokio::select! {
        biased;
        page = next.run(request) => page,
        error = pages.engine.store().lost() => database_error_page(&error, now),
    }
}

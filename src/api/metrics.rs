//! `GET /metrics`: metrics for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::context::{ApiContext, ApiRoutes};
use super::problem::internal_error;

/// The content type. Source: `OpenMetrics` 1.0, "Overall Structure".
const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![("/metrics", get(show))]
}

/// `GET /metrics`: metrics for Prometheus.
async fn show(State(api): State<Arc<ApiContext>>) -> Response {
    let mut text = String::new();
    match api.engine.models().encode_metrics(&mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response(),
        Err(error) => internal_error(&error).into_response(),
    }
}

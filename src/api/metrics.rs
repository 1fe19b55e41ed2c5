//! `GET /metrics`: what is counted, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::context::{Api, Routes};
use super::problem::fault;

/// The format's name. Source: `OpenMetrics` 1.0, "Overall Structure".
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes of this file.
pub(super) fn routes() -> Routes {
    vec![("/metrics", get(show))]
}

/// `GET /metrics`.
async fn show(State(api): State<Arc<Api>>) -> Response {
    let mut text = String::new();
    match api.engine.models().encode_metrics(&mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => fault(&error).into_response(),
    }
}

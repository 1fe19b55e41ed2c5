//! `GET /metrics`: metrics for Prometheus.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::context::{ApiContext, ApiRoutes};
use super::problem::internal_error;
use crate::engine::{IncidentFilter, IncidentView};
use crate::formatting::with_causes;

/// The content type. Source: `OpenMetrics` 1.0, "Overall Structure".
const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![("/metrics", get(show))]
}

/// `GET /metrics`: metrics for Prometheus.
async fn show(State(api): State<Arc<ApiContext>>) -> Response {
    let incidents = match api.engine.incidents(IncidentFilter::Open).await {
        Ok(incidents) => Some(incidents),
        Err(error) => {
            // The others are of this process and can be had without the database.
            tracing::debug!(
                error = %with_causes(&error),
                "cannot read incidents, their metrics are left out"
            );
            None
        }
    };
    let mut text = String::new();
    let encoded = api.engine.models().encode_metrics(&mut text);
    match encoded.and_then(|()| encode_incidents(incidents.as_deref(), &mut text)) {
        Ok(()) => ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response(),
        Err(error) => internal_error(&error).into_response(),
    }
}

/// Writes the metrics of incidents, which are read when they are asked for, and the end of the document.
fn encode_incidents(incidents: Option<&[IncidentView]>, to: &mut impl fmt::Write) -> fmt::Result {
    if let Some(incidents) = incidents {
        let mut registry = Registry::with_prefix("lifeguard_incident");
        let open: Gauge = Gauge::default();
        open.set(i64::try_from(incidents.len()).unwrap_or(i64::MAX));
        registry.register("open", "Open incidents: resources that do not answer", open);
        let waiting: Gauge = Gauge::default();
        waiting.set(incidents.iter().map(|incident| incident.waiting).sum());
        registry.register("waiting", "Boards that wait for the end of an incident", waiting);
        encode_registry(to, &registry)?;
    }
    encode_eof(to)
}

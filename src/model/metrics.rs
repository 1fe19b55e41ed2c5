//! Metrics of models, for Prometheus.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::ModelError;

/// The name of a model; empty for unknown models, whose names clients could invent without limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model: String,
}

/// The name of a model, and the kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelFailureLabels {
    model: String,
    kind: &'static str,
}

/// The metrics of one server's models.
pub(super) struct ModelMetrics {
    registry: Registry,
    predictions: Family<ModelLabel, Counter>,
    rows: Family<ModelLabel, Counter>,
    failures: Family<ModelFailureLabels, Counter>,
    prediction_seconds: Family<ModelLabel, Histogram>,
    loads: Family<ModelLabel, Counter>,
    load_seconds: Family<ModelLabel, Histogram>,
    loaded: Gauge,
    bytes: Gauge,
}

/// The counts of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ModelCounts {
    /// Requests answered with states.
    pub predictions: u64,
    /// States that were answered.
    pub rows: u64,
    /// Requests that could not be answered.
    pub failures: u64,
    /// The number of times that the model's file was loaded.
    pub loads: u64,
}

impl ModelMetrics {
    /// Creates the metrics, all at zero.
    pub(super) fn new() -> Self {
        // From 16 µs to 4 s: a small tree takes tens of microseconds, a large forest takes seconds for many rows.
        let prediction_histogram = || Histogram::new(exponential_buckets(0.000_016, 4.0, 10));
        // From 1 ms to 16 s.
        let load_histogram = || Histogram::new(exponential_buckets(0.001, 4.0, 8));
        let mut registry = Registry::with_prefix("lifeguard_model");
        let metrics = Self {
            predictions: Family::default(),
            rows: Family::default(),
            failures: Family::default(),
            prediction_seconds: Family::new_with_constructor(prediction_histogram),
            loads: Family::default(),
            load_seconds: Family::new_with_constructor(load_histogram),
            loaded: Gauge::default(),
            bytes: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("predictions", "Requests answered with states", metrics.predictions.clone());
        registry.register("rows", "States answered", metrics.rows.clone());
        registry.register("failures", "Requests that could not be answered", metrics.failures.clone());
        registry.register_with_unit(
            "prediction",
            "Duration of predictions, including waiting and loading",
            Unit::Seconds,
            metrics.prediction_seconds.clone(),
        );
        registry.register("loads", "Times that a model's file was loaded", metrics.loads.clone());
        registry.register_with_unit(
            "load",
            "Duration of loading a model",
            Unit::Seconds,
            metrics.load_seconds.clone(),
        );
        registry.register("loaded", "Models in memory", metrics.loaded.clone());
        registry.register_with_unit(
            "size",
            "Size of the files of the models in memory",
            Unit::Bytes,
            metrics.bytes.clone(),
        );
        Self { registry, ..metrics }
    }

    /// Counts a request that was answered with `states` states.
    pub(super) fn answered(&self, model: &str, states: usize, duration: Duration) {
        self.predictions.get_or_create(&of(model)).inc();
        self.rows.get_or_create(&of(model)).inc_by(states as u64);
        self.prediction_seconds.get_or_create(&of(model)).observe(duration.as_secs_f64());
    }

    /// Counts a failed request.
    pub(super) fn failed(&self, model: &str, error: &ModelError) {
        let model = if matches!(error, ModelError::Unknown(_) | ModelError::Folder(_)) { "" } else { model };
        self.failures
            .get_or_create(&ModelFailureLabels { model: model.to_owned(), kind: error.kind() })
            .inc();
    }

    /// Counts the loading of a model, successful or not.
    pub(super) fn loaded(&self, model: &str, duration: Duration) {
        self.loads.get_or_create(&of(model)).inc();
        self.load_seconds.get_or_create(&of(model)).observe(duration.as_secs_f64());
    }

    /// Sets the number of models in memory, and the size of their files.
    pub(super) fn in_memory(&self, loaded: usize, size_bytes: u64) {
        self.loaded.set(i64::try_from(loaded).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(size_bytes).unwrap_or(i64::MAX));
    }

    /// The counts of a model.
    pub(super) fn counts(&self, model: &str) -> ModelCounts {
        let failed = |kind| {
            let labels = ModelFailureLabels { model: model.to_owned(), kind };
            self.failures.get(&labels).map_or(0, |counter| counter.get())
        };
        let count =
            |family: &Family<ModelLabel, Counter>| family.get(&of(model)).map_or(0, |count| count.get());
        ModelCounts {
            predictions: count(&self.predictions),
            rows: count(&self.rows),
            failures: ModelError::KINDS.iter().map(|kind| failed(kind)).sum(),
            loads: count(&self.loads),
        }
    }

    /// Writes the metrics in Prometheus's text format (Source: `OpenMetrics` 1.0), without the end of the document.
    ///
    /// # Errors
    ///
    /// When `to` cannot be written.
    pub(super) fn encode(&self, to: &mut impl fmt::Write) -> fmt::Result {
        encode_registry(to, &self.registry)
    }
}

fn of(model: &str) -> ModelLabel {
    ModelLabel { model: model.to_owned() }
}

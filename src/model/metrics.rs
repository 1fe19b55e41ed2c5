//! What is counted of models, for Prometheus.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::ModelError;

/// Which model; none where a request names one that there is not, for anybody can make up names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model: String,
}

/// Which model, and what went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelFailureLabels {
    model: String,
    kind: &'static str,
}

/// The numbers of one server's models.
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
    /// Requests that were answered with states.
    pub predictions: u64,
    /// States that were answered.
    pub rows: u64,
    /// Requests that could not be answered.
    pub failures: u64,
    /// How often the model's file was loaded.
    pub loads: u64,
}

impl ModelMetrics {
    /// All at zero.
    pub(super) fn new() -> Self {
        // From 16 µs to 4 s: a small tree answers in tens of microseconds, a great forest takes seconds for many rows.
        let predictions_take = || Histogram::new(exponential_buckets(0.000_016, 4.0, 10));
        // From 1 ms to 16 s.
        let loads_take = || Histogram::new(exponential_buckets(0.001, 4.0, 8));
        let mut registry = Registry::with_prefix("lifeguard_model");
        let metrics = Self {
            predictions: Family::default(),
            rows: Family::default(),
            failures: Family::default(),
            prediction_seconds: Family::new_with_constructor(predictions_take),
            loads: Family::default(),
            load_seconds: Family::new_with_constructor(loads_take),
            loaded: Gauge::default(),
            bytes: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("predictions", "Requests answered with states", metrics.predictions.clone());
        registry.register("rows", "States answered", metrics.rows.clone());
        registry.register("failures", "Requests that could not be answered", metrics.failures.clone());
        registry.register_with_unit(
            "prediction",
            "What an answer took, with waiting for others and for loading",
            Unit::Seconds,
            metrics.prediction_seconds.clone(),
        );
        registry.register("loads", "Times that a model's file was loaded", metrics.loads.clone());
        registry.register_with_unit(
            "load",
            "What loading a model took",
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

    /// A request was answered with so many states.
    pub(super) fn answered(&self, model: &str, states: usize, took: Duration) {
        self.predictions.get_or_create(&of(model)).inc();
        self.rows.get_or_create(&of(model)).inc_by(states as u64);
        self.prediction_seconds.get_or_create(&of(model)).observe(took.as_secs_f64());
    }

    /// A request could not be answered.
    pub(super) fn failed(&self, model: &str, error: &ModelError) {
        let model = if matches!(error, ModelError::Unknown(_) | ModelError::Folder(_)) { "" } else { model };
        self.failures
            .get_or_create(&ModelFailureLabels { model: model.to_owned(), kind: error.kind() })
            .inc();
    }

    /// A model's file was loaded, well or not.
    pub(super) fn loaded(&self, model: &str, took: Duration) {
        self.loads.get_or_create(&of(model)).inc();
        self.load_seconds.get_or_create(&of(model)).observe(took.as_secs_f64());
    }

    /// So many models are in memory, whose files have so many bytes.
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

    /// Writes them in Prometheus's text format (Source: `OpenMetrics` 1.0).
    ///
    /// # Errors
    ///
    /// When `to` takes no more.
    pub(super) fn encode(&self, to: &mut impl fmt::Write) -> fmt::Result {
        encode(to, &self.registry)
    }
}

fn of(model: &str) -> ModelLabel {
    ModelLabel { model: model.to_owned() }
}

//! The hosted models of this process.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::config::ModelConfig;
use super::error::ModelError;
use super::host::ModelHost;
use super::options::ModelOptions;
use super::queue::{ModelQueue, RunSlot};
use super::values::Values;
use super::view::{ModelView, RuntimeView};
use crate::clock::{Clock, SystemClock};

/// The hosted models of this process.
#[derive(Clone)]
pub struct Models {
    host: Arc<ModelHost>,
    queue: Arc<ModelQueue>,
}

impl Default for Models {
    /// No models.
    fn default() -> Self {
        Self::new(ModelOptions::default(), Arc::new(SystemClock))
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models").finish_non_exhaustive()
    }
}

impl Models {
    /// Reads the configs. The fault of a config is logged, and returned to requests for its model. Blocks.
    #[must_use]
    pub fn new(options: ModelOptions, clock: Arc<dyn Clock>) -> Self {
        let queue = Arc::new(ModelQueue::new(options.timeout));
        Self { host: Arc::new(ModelHost::new(options, clock)), queue }
    }

    /// Predicts the state of each row of `values`, in their order.
    ///
    /// # Errors
    ///
    /// [`ModelError`], with the fault of the model or of the values.
    pub async fn predict(&self, model: &str, values: &Value) -> Result<Vec<String>, ModelError> {
        self.predict_values(model, Values::read(values)).await
    }

    /// Predicts the states of values that were parsed before, or failed to parse.
    ///
    /// # Errors
    ///
    /// As [`Self::predict`].
    pub async fn predict_values(
        &self,
        model: &str,
        values: Result<Values, ModelError>,
    ) -> Result<Vec<String>, ModelError> {
        let begun = Instant::now();
        let result = self.run_prediction(model, values).await;
        match &result {
            Ok(states) => self.host.metrics.answered(model, states.len(), begun.elapsed()),
            Err(error) => self.host.metrics.failed(model, error),
        }
        result
    }

    async fn run_prediction(
        &self,
        model: &str,
        values: Result<Values, ModelError>,
    ) -> Result<Vec<String>, ModelError> {
        let config = self.host.config(model)?;
        let values = Arc::new(values?);
        let turn = self.queue.turn(model).await?;
        let slot = self.queue.slot(&turn).await?;
        let shared = Arc::clone(&values);
        let predicted =
            self.run_in_slot(slot, &config, move |host, config| host.predict_loaded(config, &shared)).await?;
        if let Some(states) = predicted {
            return Ok(states);
        }
        let slot = self.queue.slot_to_load(&turn).await?;
        self.run_in_slot(slot, &config, move |host, config| host.predict(config, &values)).await
    }

    /// Reads the configs again, and loads the model of this name.
    ///
    /// # Errors
    ///
    /// [`ModelError`], with the fault of the model.
    pub async fn load(&self, model: &str) -> Result<ModelView, ModelError> {
        let host = Arc::clone(&self.host);
        let read = tokio::task::spawn_blocking(move || host.read_configs()).await;
        read.map_err(|error| ModelError::Fault(format!("reading the configs panicked: {error}")))?;
        self.queue.retain(|model| self.host.config(model).is_ok());
        let config = self.host.config(model)?;
        let turn = self.queue.turn(model).await?;
        let slot = self.queue.slot_to_load(&turn).await?;
        self.run_in_slot(slot, &config, ModelHost::load).await?;
        self.show(model)
    }

    /// All models, by name.
    #[must_use]
    pub fn list(&self) -> Vec<ModelView> {
        self.host.list()
    }

    /// The model of this name.
    ///
    /// # Errors
    ///
    /// [`ModelError::Unknown`] or [`ModelError::Folder`]; a model with another fault is shown with that fault.
    pub fn show(&self, model: &str) -> Result<ModelView, ModelError> {
        self.host.show(model)
    }

    /// The runtime of the models, once it is loaded.
    #[must_use]
    pub fn runtime(&self) -> RuntimeView {
        self.host.runtime()
    }

    /// Writes the metrics in Prometheus's text format, without the end of the document.
    ///
    /// # Errors
    ///
    /// When `to` cannot be written.
    pub fn encode_metrics(&self, to: &mut impl fmt::Write) -> fmt::Result {
        self.host.metrics.encode(to)
    }

    /// Runs `work` with the model of this config. If it does not return, the model gets no further requests.
    async fn run_in_slot<T: Send + 'static>(
        &self,
        slot: RunSlot,
        config: &ModelConfig,
        work: impl FnOnce(&ModelHost, &ModelConfig) -> Result<T, ModelError> + Send + 'static,
    ) -> Result<T, ModelError> {
        let (host, timed_out, returned) =
            (Arc::clone(&self.host), Arc::clone(&self.host), Arc::clone(&self.host));
        let (running, stuck, free) = (config.clone(), config.clone(), config.clone());
        self.queue
            .run(
                slot,
                move || work(&host, &running),
                move || timed_out.mark_stuck(&stuck),
                move || returned.mark_returned(&free),
            )
            .await
    }
}

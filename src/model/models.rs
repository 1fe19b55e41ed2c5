//! The models that this process hosts, for whoever asks them.

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

/// The models that this process hosts.
#[derive(Clone)]
pub struct Models {
    host: Arc<ModelHost>,
    queue: Arc<ModelQueue>,
}

impl Default for Models {
    /// None at all.
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
    /// Reads the configs; what is wrong with one is logged, and told to whoever asks for its model. Blocks.
    #[must_use]
    pub fn new(options: ModelOptions, clock: Arc<dyn Clock>) -> Self {
        let queue = Arc::new(ModelQueue::new(options.timeout));
        Self { host: Arc::new(ModelHost::new(options, clock)), queue }
    }

    /// Judges `values`: a row of numbers for each thing. Gives the state of each, in their order.
    ///
    /// # Errors
    ///
    /// [`ModelError`], with what is wrong with the model, or with the values.
    pub async fn predict(&self, model: &str, values: &Value) -> Result<Vec<String>, ModelError> {
        self.predict_values(model, Values::read(values)).await
    }

    /// Judges values that were read before, or could not be.
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
        let result = self.ask(model, values).await;
        match &result {
            Ok(states) => self.host.metrics.answered(model, states.len(), begun.elapsed()),
            Err(error) => self.host.metrics.failed(model, error),
        }
        result
    }

    async fn ask(&self, model: &str, values: Result<Values, ModelError>) -> Result<Vec<String>, ModelError> {
        let config = self.host.config(model)?;
        let values = Arc::new(values?);
        let turn = self.queue.turn(model).await?;
        let place = self.queue.slot(&turn).await?;
        let asked = Arc::clone(&values);
        let judged =
            self.run_in_slot(place, &config, move |host, config| host.predict_loaded(config, &asked)).await?;
        if let Some(states) = judged {
            return Ok(states);
        }
        let place = self.queue.slot_to_load(&turn).await?;
        self.run_in_slot(place, &config, move |host, config| host.predict(config, &values)).await
    }

    /// Reads the configs anew, and loads the model of this name.
    ///
    /// # Errors
    ///
    /// [`ModelError`], with what is wrong with the model.
    pub async fn load(&self, model: &str) -> Result<ModelView, ModelError> {
        let host = Arc::clone(&self.host);
        let read = tokio::task::spawn_blocking(move || host.read_configs()).await;
        read.map_err(|error| ModelError::Fault(format!("reading the configs broke off: {error}")))?;
        self.queue.retain(|model| self.host.config(model).is_ok());
        let config = self.host.config(model)?;
        let turn = self.queue.turn(model).await?;
        let place = self.queue.slot_to_load(&turn).await?;
        self.run_in_slot(place, &config, ModelHost::load).await?;
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
    /// [`ModelError::Failed`]; a model with whatever else is wrong is shown with that.
    pub fn show(&self, model: &str) -> Result<ModelView, ModelError> {
        self.host.show(model)
    }

    /// What runs the models, as far as it is known yet.
    #[must_use]
    pub fn runtime(&self) -> RuntimeView {
        self.host.runtime()
    }

    /// Writes what was counted, in Prometheus's text format.
    ///
    /// # Errors
    ///
    /// When `to` takes no more.
    pub fn encode_metrics(&self, to: &mut impl fmt::Write) -> fmt::Result {
        self.host.metrics.encode(to)
    }

    /// Does `work` with the model of this config; where it does not return, the model is not asked again.
    async fn run_in_slot<T: Send + 'static>(
        &self,
        place: RunSlot,
        config: &ModelConfig,
        work: impl FnOnce(&ModelHost, &ModelConfig) -> Result<T, ModelError> + Send + 'static,
    ) -> Result<T, ModelError> {
        let (host, given, returned) =
            (Arc::clone(&self.host), Arc::clone(&self.host), Arc::clone(&self.host));
        let (working, stuck, free) = (config.clone(), config.clone(), config.clone());
        self.queue
            .run(
                place,
                move || work(&host, &working),
                move || given.mark_stuck(&stuck),
                move || returned.mark_returned(&free),
            )
            .await
    }
}

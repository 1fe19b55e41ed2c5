//! Loads models and runs predictions. Every function may block.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use super::cache::{CachedModel, LoadOutcome, ModelCache};
use super::config::{ModelCatalog, ModelConfig};
use super::error::ModelError;
use super::file::ModelFile;
use super::metrics::ModelMetrics;
use super::options::ModelOptions;
use super::runtime::RuntimeLocator;
use super::session::ModelSession;
use super::values::Values;
use crate::clock::Clock;

/// The models with their configs and the cache.
pub(super) struct ModelHost {
    pub(super) options: ModelOptions,
    pub(super) runtime: RuntimeLocator,
    pub(super) catalog: RwLock<ModelCatalog>,
    pub(super) cache: Mutex<ModelCache>,
    pub(super) metrics: ModelMetrics,
    /// The last fault of each model, so that it is logged once.
    pub(super) faults: Mutex<HashMap<String, ModelError>>,
    /// Held while configs are read and activated, so that an older reading does not replace a newer one.
    reading: Mutex<()>,
    clock: Arc<dyn Clock>,
}

impl ModelHost {
    pub(super) fn new(options: ModelOptions, clock: Arc<dyn Clock>) -> Self {
        let host = Self {
            runtime: RuntimeLocator {
                file: options.onnxruntime.clone(),
                folder: options.onnxruntime_folder.clone(),
            },
            catalog: RwLock::default(),
            cache: Mutex::new(ModelCache::new(options.memory_bytes)),
            metrics: ModelMetrics::new(),
            faults: Mutex::default(),
            reading: Mutex::default(),
            options,
            clock,
        };
        host.read_configs();
        host
    }

    /// Reads the configs, and removes the models that have none.
    pub(super) fn read_configs(&self) {
        let Some(folder) = &self.options.config else { return };
        let _one_at_a_time = lock(&self.reading);
        let catalog = ModelCatalog::read(folder);
        let mut before = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        catalog.log_faults(&before);
        lock(&self.faults).retain(|model, _| catalog.models.contains_key(model));
        let mut cache = lock(&self.cache);
        cache.retain(|model| matches!(catalog.models.get(model), Some(Ok(_))));
        self.update_gauges(&cache);
        *before = catalog;
    }

    /// The config of the model of this name.
    pub(super) fn config(&self, model: &str) -> Result<ModelConfig, ModelError> {
        let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        let unknown = || match &catalog.fault {
            Some(fault) => ModelError::Folder(fault.clone()),
            None => ModelError::Unknown(model.to_owned()),
        };
        catalog.models.get(model).cloned().unwrap_or_else(|| Err(unknown()))
    }

    /// Loads a model, even if it is loaded already.
    pub(super) fn load(&self, config: &ModelConfig) -> Result<(), ModelError> {
        lock(&self.cache).remove(&config.name);
        self.session(config).map(drop)
    }

    /// Runs a prediction with a loaded model; `None` if it must be loaded first.
    pub(super) fn predict_loaded(
        &self,
        config: &ModelConfig,
        values: &Values,
    ) -> Result<Option<Vec<String>>, ModelError> {
        let found = match self.open(config) {
            Ok(file) => lock(&self.cache).find(config, &file.version),
            Err(error) => Some(Err(error)),
        };
        let Some(outcome) = found else { return Ok(None) };
        predict_with(&*self.with_fault_logged(config, outcome)?, config, values).map(Some)
    }

    /// Runs a prediction, and loads the model if necessary. One model at a time may be loaded.
    pub(super) fn predict(&self, config: &ModelConfig, values: &Values) -> Result<Vec<String>, ModelError> {
        predict_with(&*self.session(config)?, config, values)
    }

    /// Marks a model that did not return, so that it gets no further requests.
    pub(super) fn mark_stuck(&self, config: &ModelConfig) -> ModelError {
        let error = self.stuck(config);
        let mut cache = lock(&self.cache);
        cache.mark_stuck(config, &error);
        self.update_gauges(&cache);
        drop(cache);
        self.log_fault(config, Some(&error));
        error
    }

    /// Notes that a model returned after its timeout.
    pub(super) fn mark_returned(&self, config: &ModelConfig) {
        tracing::info!(model = config.name, "model returned after its timeout");
        if lock(&self.cache).clear_stuck(config) {
            self.log_fault(config, None);
        }
    }

    /// The session for the current file of a model.
    fn session(&self, config: &ModelConfig) -> LoadOutcome {
        let outcome = self.find_or_load(config);
        self.with_fault_logged(config, outcome)
    }

    fn with_fault_logged(&self, config: &ModelConfig, outcome: LoadOutcome) -> LoadOutcome {
        self.log_fault(config, outcome.as_ref().err());
        outcome
    }

    /// Logs the fault of a model when it is new.
    fn log_fault(&self, config: &ModelConfig, error: Option<&ModelError>) {
        let mut faults = lock(&self.faults);
        match error {
            None => {
                faults.remove(&config.name);
            }
            Some(error) if faults.get(&config.name) != Some(error) => {
                tracing::warn!(model = config.name, %error, "model failed");
                faults.insert(config.name.clone(), error.clone());
            }
            Some(_) => {}
        }
    }

    fn open(&self, config: &ModelConfig) -> Result<ModelFile, ModelError> {
        let Some(models) = &self.options.models else {
            let fault = "no folder of models is given: --models".to_owned();
            return Err(ModelError::File { file: format!("{}/{}", config.team, config.model), fault });
        };
        ModelFile::open(models, &config.team, &config.model)
    }

    fn find_or_load(&self, config: &ModelConfig) -> LoadOutcome {
        let mut file = self.open(config)?;
        if let Some(outcome) = lock(&self.cache).find(config, &file.version) {
            return outcome;
        }
        let runtime = self.runtime.get()?;
        let begun = Instant::now();
        self.make_room(config, &file);
        let outcome = if file.version.size_bytes > self.options.memory_bytes {
            Err(file.fault(format!(
                "it has {} bytes, and the limit for models in memory is {}: --model-memory",
                file.version.size_bytes, self.options.memory_bytes
            )))
        } else {
            let bytes = file.read()?;
            // This entry stays if loading does not return.
            self.store(config, &file, Err(self.stuck(config)), None);
            ModelSession::load(runtime, &bytes, &config.states).map_err(|fault| file.fault(fault))
        };
        self.metrics.loaded(&config.name, begun.elapsed());
        let width = outcome.as_ref().ok().and_then(ModelSession::width);
        let outcome = outcome.map(|session| Arc::new(Mutex::new(session)));
        self.store(config, &file, outcome.clone(), width);
        outcome
    }

    fn store(&self, config: &ModelConfig, file: &ModelFile, outcome: LoadOutcome, width: Option<usize>) {
        let mut cache = lock(&self.cache);
        cache.insert(CachedModel {
            config: config.clone(),
            version: file.version.clone(),
            outcome,
            width,
            loaded_at: self.clock.now(),
        });
        self.update_gauges(&cache);
    }

    fn stuck(&self, config: &ModelConfig) -> ModelError {
        let file = format!("{}/{}", config.team, config.model);
        ModelError::Stuck { file, timeout: self.options.timeout }
    }

    fn make_room(&self, config: &ModelConfig, file: &ModelFile) {
        let mut cache = lock(&self.cache);
        cache.remove(&config.name);
        if file.version.size_bytes <= self.options.memory_bytes {
            cache.make_room(file.version.size_bytes);
        }
        self.update_gauges(&cache);
    }

    fn update_gauges(&self, cache: &ModelCache) {
        self.metrics.in_memory(cache.count_loaded(), cache.size_bytes());
    }
}

fn predict_with(
    session: &Mutex<ModelSession>,
    config: &ModelConfig,
    values: &Values,
) -> Result<Vec<String>, ModelError> {
    let predicted = lock(session).predict(values, &config.states);
    predicted.map_err(|failure| failure.of(&config.team, &config.model))
}

/// Locks a mutex, also after a panic of another thread: no value here is changed in several steps.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The views of models and the runtime.

use std::sync::PoisonError;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::config::ModelConfig;
use super::host::{ModelHost, lock};
use super::metrics::ModelCounts;
use super::runtime::RuntimeLocator;
use super::{ModelError, TESTED_VERSION};

/// The view of a model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelView {
    /// Its name for clients.
    pub name: String,
    /// The folder of its file.
    pub team: Option<String>,
    /// The name of its file in its config.
    pub model: Option<String>,
    /// The state of each class.
    pub states: Vec<String>,
    /// Its status.
    pub status: ModelStatus,
    /// Its fault.
    pub error: Option<String>,
    /// The number of values in a row; `None` until it is loaded, and for a model that takes a plain list.
    pub width: Option<usize>,
    /// When it was loaded.
    pub loaded_at: Option<DateTime<Utc>>,
    /// The size of the loaded file, in bytes.
    pub size_bytes: Option<u64>,
    /// Its counts since the server started.
    #[serde(flatten)]
    pub counts: ModelCounts,
}

/// The status of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelStatus {
    /// In memory.
    Loaded,
    /// Not in memory: not requested yet, or evicted.
    NotLoaded,
    /// The last attempt to load it failed.
    Failed,
    /// Its config is invalid.
    BadConfig,
}

/// The view of the runtime.
#[derive(Debug, Clone, Serialize)]
pub struct RuntimeView {
    /// The shared library, once it is loaded.
    pub library: Option<String>,
    /// The library's description of its build.
    pub build: Option<&'static str>,
    /// The release that Lifeguard is tested with.
    pub tested_version: &'static str,
    /// The memory limit, in bytes of model files.
    pub memory_bytes: u64,
    /// The size of the model files in memory, in bytes.
    pub used_bytes: u64,
    /// Why the folder of configs cannot be read.
    pub error: Option<String>,
}

impl ModelHost {
    pub(super) fn list(&self) -> Vec<ModelView> {
        let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        catalog.models.iter().map(|(name, config)| self.view(name, config)).collect()
    }

    pub(super) fn show(&self, model: &str) -> Result<ModelView, ModelError> {
        match self.config(model) {
            Err(error @ (ModelError::Unknown(_) | ModelError::Folder(_))) => Err(error),
            config => Ok(self.view(model, &config)),
        }
    }

    pub(super) fn runtime(&self) -> RuntimeView {
        let loaded = RuntimeLocator::loaded();
        let error = self.catalog.read().unwrap_or_else(PoisonError::into_inner).fault.clone();
        let cache = lock(&self.cache);
        RuntimeView {
            library: loaded.map(|loaded| loaded.file.display().to_string()),
            build: loaded.map(|loaded| loaded.build),
            tested_version: TESTED_VERSION,
            memory_bytes: cache.max_bytes(),
            used_bytes: cache.size_bytes(),
            error,
        }
    }

    fn view(&self, name: &str, config: &Result<ModelConfig, ModelError>) -> ModelView {
        let cache = lock(&self.cache);
        let cached = cache.peek(name).filter(|cached| cached.outcome.is_ok());
        let fault = match config {
            Ok(_) => lock(&self.faults).get(name).cloned(),
            Err(error) => Some(error.clone()),
        };
        let status = match (config, &fault, cached) {
            (Err(_), _, _) => ModelStatus::BadConfig,
            (Ok(_), Some(_), _) => ModelStatus::Failed,
            (Ok(_), None, Some(_)) => ModelStatus::Loaded,
            (Ok(_), None, None) => ModelStatus::NotLoaded,
        };
        let config = config.as_ref().ok();
        ModelView {
            name: name.to_owned(),
            team: config.map(|config| config.team.clone()),
            model: config.map(|config| config.model.clone()),
            states: config.map(|config| config.states.clone()).unwrap_or_default(),
            status,
            error: fault.map(|fault| fault.to_string()),
            width: cached.and_then(|cached| cached.width),
            loaded_at: cached.map(|cached| cached.loaded_at),
            size_bytes: cached.map(|cached| cached.version.size_bytes),
            counts: self.metrics.counts(name),
        }
    }
}

//! Models as they are shown.

use std::sync::PoisonError;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::config::ModelConfig;
use super::host::{ModelHost, lock};
use super::metrics::ModelCounts;
use super::runtime::RuntimeLocator;
use super::{ModelError, TESTED_VERSION};

/// A model, and what is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct ModelView {
    /// What clients call it.
    pub name: String,
    /// The folder of its file.
    pub team: Option<String>,
    /// Its file, as its config names it.
    pub model: Option<String>,
    /// The state that each class stands for.
    pub states: Vec<String>,
    /// How it is.
    pub status: ModelStatus,
    /// What is wrong with it.
    pub error: Option<String>,
    /// How many numbers a row has; `None` until it is loaded, and of a model that takes a plain list.
    pub width: Option<usize>,
    /// When it was loaded.
    pub loaded_at: Option<DateTime<Utc>>,
    /// The size of its file as it was loaded, in bytes.
    pub size_bytes: Option<u64>,
    /// What was counted of it since the server started.
    #[serde(flatten)]
    pub counts: ModelCounts,
}

/// How a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelStatus {
    /// In memory.
    Loaded,
    /// Not in memory: not asked yet, or it made room for others.
    NotLoaded,
    /// It could not be loaded when it was last asked.
    Failed,
    /// Its config cannot be used.
    BadConfig,
}

/// What runs the models.
#[derive(Debug, Clone, Serialize)]
pub struct RuntimeView {
    /// The shared library, once it is loaded.
    pub library: Option<String>,
    /// What its makers say of the build.
    pub build: Option<&'static str>,
    /// The release that Lifeguard is tested with.
    pub tested_version: &'static str,
    /// The most that is kept in memory, in bytes of model files.
    pub memory_bytes: u64,
    /// How much of that is taken.
    pub used_bytes: u64,
    /// Why the folder of configs could not be read.
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
        let kept = cache.peek(name).filter(|kept| kept.outcome.is_ok());
        let fault = match config {
            Ok(_) => lock(&self.faults).get(name).cloned(),
            Err(error) => Some(error.clone()),
        };
        let status = match (config, &fault, kept) {
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
            width: kept.and_then(|kept| kept.width),
            loaded_at: kept.map(|kept| kept.loaded_at),
            size_bytes: kept.map(|kept| kept.version.size_bytes),
            counts: self.metrics.counts(name),
        }
    }
}

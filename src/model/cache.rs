//! Cached models: within a memory limit, and valid as long as their files do not change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};

use super::ModelError;
use super::config::ModelConfig;
use super::file::FileVersion;
use super::session::ModelSession;

/// The result of loading: a session, or why there is none.
pub(super) type LoadOutcome = Result<Arc<Mutex<ModelSession>>, ModelError>;

/// A model that was loaded, or failed to load.
pub(super) struct CachedModel {
    /// The config at that time.
    pub(super) config: ModelConfig,
    /// The version of the file.
    pub(super) version: FileVersion,
    /// The result of loading.
    pub(super) outcome: LoadOutcome,
    /// The number of values in a row.
    pub(super) width: Option<usize>,
    /// The time of loading.
    pub(super) loaded_at: DateTime<Utc>,
}

impl CachedModel {
    /// The size that counts towards the limit: that of its file, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        if self.outcome.is_ok() { self.version.size_bytes } else { 0 }
    }
}

/// The cache, by the names of the models.
pub(super) struct ModelCache {
    cached: HashMap<String, (u64, CachedModel)>,
    /// Incremented with each use, to find the least recently used model.
    uses: u64,
    max_bytes: u64,
}

impl ModelCache {
    /// Creates an empty cache for at most `max_bytes` of model files.
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { cached: HashMap::new(), uses: 0, max_bytes }
    }

    /// The memory limit, in bytes of model files.
    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// The result of loading this version of the model's file with this config; it counts as a use.
    pub(super) fn find(&mut self, config: &ModelConfig, version: &FileVersion) -> Option<LoadOutcome> {
        let (used, cached) = self.cached.get_mut(&config.name)?;
        if cached.config != *config || cached.version != *version {
            return None;
        }
        self.uses += 1;
        *used = self.uses;
        Some(cached.outcome.clone())
    }

    /// The cached model, even if its file has changed since.
    pub(super) fn peek(&self, model: &str) -> Option<&CachedModel> {
        self.cached.get(model).map(|(_, cached)| cached)
    }

    /// Marks a model that did not return as failed, until its file changes or it is removed.
    pub(super) fn mark_stuck(&mut self, config: &ModelConfig, error: &ModelError) {
        if let Some((_, cached)) = self.cached.get_mut(&config.name)
            && cached.config == *config
        {
            cached.outcome = Err(error.clone());
        }
    }

    /// Removes the mark of a model that returned after its timeout. Returns whether it was marked.
    pub(super) fn clear_stuck(&mut self, config: &ModelConfig) -> bool {
        let is_stuck = |cached: &CachedModel| matches!(cached.outcome, Err(ModelError::Stuck { .. }));
        let was_stuck =
            self.peek(&config.name).is_some_and(|cached| cached.config == *config && is_stuck(cached));
        if was_stuck {
            self.remove(&config.name);
        }
        was_stuck
    }

    /// Removes a model.
    pub(super) fn remove(&mut self, model: &str) {
        self.cached.remove(model);
    }

    /// Removes all models that are not `wanted`.
    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.cached.retain(|model, _| wanted(model));
    }

    /// Evicts the least recently used models until there is room for `size_bytes` more.
    pub(super) fn make_room(&mut self, size_bytes: u64) {
        while self.size_bytes().saturating_add(size_bytes) > self.max_bytes {
            let loaded = self.cached.iter().filter(|(_, (_, cached))| cached.outcome.is_ok());
            let Some(oldest) = loaded.min_by_key(|(_, (used, _))| *used).map(|(model, _)| model.clone())
            else {
                break;
            };
            tracing::debug!(model = oldest, "model evicted from memory");
            self.cached.remove(&oldest);
        }
    }

    /// Caches the result of loading a model. Other models may have been loaded meanwhile, so it may evict some.
    pub(super) fn insert(&mut self, model: CachedModel) {
        self.remove(&model.config.name);
        self.make_room(model.size_bytes());
        self.uses += 1;
        self.cached.insert(model.config.name.clone(), (self.uses, model));
    }

    /// The number of loaded models.
    pub(super) fn count_loaded(&self) -> usize {
        self.cached.values().filter(|(_, cached)| cached.outcome.is_ok()).count()
    }

    /// The total size of their files, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.cached.values().map(|(_, cached)| cached.size_bytes()).sum()
    }
}

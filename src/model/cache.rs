//! Models in memory: within a bound, and only as long as their files are as they were.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};

use super::ModelError;
use super::config::ModelConfig;
use super::file::FileVersion;
use super::session::ModelSession;

/// What loading came to: a session, or why there is none.
pub(super) type LoadOutcome = Result<Arc<Mutex<ModelSession>>, ModelError>;

/// A model that was loaded, or could not be.
pub(super) struct CachedModel {
    /// By which config.
    pub(super) config: ModelConfig,
    /// From which version of its file.
    pub(super) version: FileVersion,
    /// What came of it.
    pub(super) outcome: LoadOutcome,
    /// How many numbers a row has.
    pub(super) width: Option<usize>,
    /// When.
    pub(super) loaded_at: DateTime<Utc>,
}

impl CachedModel {
    /// What it takes of the bound: the size of its file, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        if self.outcome.is_ok() { self.version.size_bytes } else { 0 }
    }
}

/// What is kept, by the names of the models.
pub(super) struct ModelCache {
    cached: HashMap<String, (u64, CachedModel)>,
    /// Grows with each use, so that the least recent one is known.
    uses: u64,
    max_bytes: u64,
}

impl ModelCache {
    /// Nothing yet, and never more than so many bytes of model files.
    pub(super) fn new(bound_bytes: u64) -> Self {
        Self { cached: HashMap::new(), uses: 0, max_bytes: bound_bytes }
    }

    /// The most that is kept, in bytes of model files.
    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// What came of loading this version of the model's file by this config; it counts as a use.
    pub(super) fn find(&mut self, config: &ModelConfig, stamp: &FileVersion) -> Option<LoadOutcome> {
        let (used, kept) = self.cached.get_mut(&config.name)?;
        if kept.config != *config || kept.version != *stamp {
            return None;
        }
        self.uses += 1;
        *used = self.uses;
        Some(kept.outcome.clone())
    }

    /// What is kept of a model, whatever its file is like by this time.
    pub(super) fn peek(&self, model: &str) -> Option<&CachedModel> {
        self.cached.get(model).map(|(_, kept)| kept)
    }

    /// The model of this config did not return: that is what came of it, until its file changes or it is forgotten.
    pub(super) fn mark_stuck(&mut self, config: &ModelConfig, why: &ModelError) {
        if let Some((_, kept)) = self.cached.get_mut(&config.name)
            && kept.config == *config
        {
            kept.outcome = Err(why.clone());
        }
    }

    /// The model of this config returned after all: it may be asked again. Gives whether it could not before.
    pub(super) fn clear_stuck(&mut self, config: &ModelConfig) -> bool {
        let is_stuck = |kept: &CachedModel| matches!(kept.outcome, Err(ModelError::Stuck { .. }));
        let was_stuck = self.peek(&config.name).is_some_and(|kept| kept.config == *config && is_stuck(kept));
        if was_stuck {
            self.forget(&config.name);
        }
        was_stuck
    }

    /// Forgets a model.
    pub(super) fn forget(&mut self, model: &str) {
        self.cached.remove(model);
    }

    /// Forgets all models that are not `wanted`.
    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.cached.retain(|model, _| wanted(model));
    }

    /// Forgets the models that were least recently used, until there is room for so many bytes more.
    pub(super) fn make_room(&mut self, size_bytes: u64) {
        while self.size_bytes().saturating_add(size_bytes) > self.max_bytes {
            let loaded = self.cached.iter().filter(|(_, (_, kept))| kept.outcome.is_ok());
            let Some(oldest) = loaded.min_by_key(|(_, (used, _))| *used).map(|(model, _)| model.clone())
            else {
                break;
            };
            tracing::debug!(model = oldest, "a model makes room for another one");
            self.cached.remove(&oldest);
        }
    }

    /// Keeps what came of loading a model. One that took too long may come when others are there already.
    pub(super) fn keep(&mut self, kept: CachedModel) {
        self.forget(&kept.config.name);
        self.make_room(kept.size_bytes());
        self.uses += 1;
        self.cached.insert(kept.config.name.clone(), (self.uses, kept));
    }

    /// How many models are loaded.
    pub(super) fn count_loaded(&self) -> usize {
        self.cached.values().filter(|(_, kept)| kept.outcome.is_ok()).count()
    }

    /// How large the files of those are together, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.cached.values().map(|(_, kept)| kept.size_bytes()).sum()
    }
}

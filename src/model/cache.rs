//! Models in memory: within a bound, and only as long as their files are as they were.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};

use super::ModelError;
use super::config::Config;
use super::file::Stamp;
use super::session::Session;

/// What loading came to: a session, or why there is none.
pub(super) type Outcome = Result<Arc<Mutex<Session>>, ModelError>;

/// A model that was loaded, or could not be.
pub(super) struct Kept {
    /// By which config.
    pub(super) config: Config,
    /// From which version of its file.
    pub(super) stamp: Stamp,
    /// What came of it.
    pub(super) outcome: Outcome,
    /// How many numbers a row has.
    pub(super) width: Option<usize>,
    /// When.
    pub(super) loaded_at: DateTime<Utc>,
}

impl Kept {
    /// What it takes of the bound: the size of its file, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        if self.outcome.is_ok() { self.stamp.size_bytes } else { 0 }
    }
}

/// What is kept, by the names of the models.
pub(super) struct Cache {
    kept: HashMap<String, (u64, Kept)>,
    /// Grows with each use, so that the least recent one is known.
    uses: u64,
    bound_bytes: u64,
}

impl Cache {
    /// Nothing yet, and never more than so many bytes of model files.
    pub(super) fn new(bound_bytes: u64) -> Self {
        Self { kept: HashMap::new(), uses: 0, bound_bytes }
    }

    /// The most that is kept, in bytes of model files.
    pub(super) fn bound_bytes(&self) -> u64 {
        self.bound_bytes
    }

    /// What came of loading this version of the model's file by this config; it counts as a use.
    pub(super) fn find(&mut self, config: &Config, stamp: &Stamp) -> Option<Outcome> {
        let (used, kept) = self.kept.get_mut(&config.name)?;
        if kept.config != *config || kept.stamp != *stamp {
            return None;
        }
        self.uses += 1;
        *used = self.uses;
        Some(kept.outcome.clone())
    }

    /// What is kept of a model, whatever its file is like by this time.
    pub(super) fn look(&self, model: &str) -> Option<&Kept> {
        self.kept.get(model).map(|(_, kept)| kept)
    }

    /// The model of this config did not return: that is what came of it, until its file changes or it is forgotten.
    pub(super) fn give_up(&mut self, config: &Config, why: &ModelError) {
        if let Some((_, kept)) = self.kept.get_mut(&config.name)
            && kept.config == *config
        {
            kept.outcome = Err(why.clone());
        }
    }

    /// The model of this config returned after all: it may be asked again. Gives whether it could not before.
    pub(super) fn returned(&mut self, config: &Config) -> bool {
        let is_stuck = |kept: &Kept| matches!(kept.outcome, Err(ModelError::Stuck { .. }));
        let was_stuck = self.look(&config.name).is_some_and(|kept| kept.config == *config && is_stuck(kept));
        if was_stuck {
            self.forget(&config.name);
        }
        was_stuck
    }

    /// Forgets a model.
    pub(super) fn forget(&mut self, model: &str) {
        self.kept.remove(model);
    }

    /// Forgets all models that are not `wanted`.
    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.kept.retain(|model, _| wanted(model));
    }

    /// Forgets the models that were least recently used, until there is room for so many bytes more.
    pub(super) fn make_room(&mut self, size_bytes: u64) {
        while self.size_bytes().saturating_add(size_bytes) > self.bound_bytes {
            let loaded = self.kept.iter().filter(|(_, (_, kept))| kept.outcome.is_ok());
            let Some(oldest) = loaded.min_by_key(|(_, (used, _))| *used).map(|(model, _)| model.clone())
            else {
                break;
            };
            tracing::debug!(model = oldest, "a model makes room for another one");
            self.kept.remove(&oldest);
        }
    }

    /// Keeps what came of loading a model. One that took too long may come when others are there already.
    pub(super) fn keep(&mut self, kept: Kept) {
        self.forget(&kept.config.name);
        self.make_room(kept.size_bytes());
        self.uses += 1;
        self.kept.insert(kept.config.name.clone(), (self.uses, kept));
    }

    /// How many models are loaded.
    pub(super) fn loaded(&self) -> usize {
        self.kept.values().filter(|(_, kept)| kept.outcome.is_ok()).count()
    }

    /// How large the files of those are together, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.kept.values().map(|(_, kept)| kept.size_bytes()).sum()
    }
}

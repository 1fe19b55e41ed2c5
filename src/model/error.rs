//! What can be wrong with a model, or with what it is asked.

use std::time::Duration;

/// Why a model could not be asked.
///
/// Nothing was changed in any case, and whatever else is hosted goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// There is no model of this name.
    #[error("there is no model {0:?}")]
    Unknown(String),
    /// The folder of configs cannot be read, so that nobody knows which models there are.
    #[error("--config: {0}")]
    Folder(String),
    /// The model's config cannot be used. Whoever keeps the configs can mend it.
    #[error("{file}: {fault}")]
    Config {
        /// The config's file name.
        file: String,
        /// What is wrong, where, and what would be right.
        fault: String,
    },
    /// ONNX Runtime is not there, or cannot be used. Once it is installed, asking again helps.
    #[error("{0}")]
    Runtime(String),
    /// The model's file cannot be used. Once it has changed, asking again helps.
    #[error("{file}: {fault}")]
    File {
        /// `TEAM/MODEL`, below the models folder.
        file: String,
        /// What is wrong, and what would be right.
        fault: String,
    },
    /// Whoever asked has waited as long as it may. Asking again may help.
    #[error("there is no answer yet: {0}")]
    Busy(String),
    /// The model did not return. Once its file has changed, asking again helps.
    #[error(
        "{file}: it took longer than {patience:?} and is not asked again until it has returned or its file has changed"
    )]
    Stuck {
        /// `TEAM/MODEL`, below the models folder.
        file: String,
        /// How long it may take.
        patience: Duration,
    },
    /// The values are not what this model takes.
    #[error("values: {0}")]
    Values(String),
    /// A fault of ours.
    #[error("{0}")]
    Fault(String),
}

impl ModelError {
    /// All that [`Self::kind`] gives.
    pub(super) const KINDS: [&str; 9] =
        ["unknown", "folder", "config", "runtime", "file", "busy", "stuck", "values", "fault"];

    /// One word for the metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown",
            Self::Folder(_) => "folder",
            Self::Config { .. } => "config",
            Self::Runtime(_) => "runtime",
            Self::File { .. } => "file",
            Self::Busy(_) => "busy",
            Self::Stuck { .. } => "stuck",
            Self::Values(_) => "values",
            Self::Fault(_) => "fault",
        }
    }
}

/// Why a session gave no states.
#[derive(Debug)]
pub(super) enum PredictionFailure {
    /// The values are not what it takes.
    Values(String),
    /// The model is to blame.
    Model(String),
}

impl PredictionFailure {
    /// Says so of the model `team/model`.
    pub(super) fn of(self, team: &str, model: &str) -> ModelError {
        match self {
            Self::Values(what) => ModelError::Values(what),
            Self::Model(fault) => ModelError::File { file: format!("{team}/{model}"), fault },
        }
    }
}

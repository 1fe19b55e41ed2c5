//! Errors of models and of requests to them.

use std::time::Duration;

/// Why a prediction failed.
///
/// Nothing was changed in any case, and other models are not affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// There is no model of this name.
    #[error("there is no model {0:?}")]
    Unknown(String),
    /// The folder of configs cannot be read, so the models are unknown.
    #[error("--config: {0}")]
    Folder(String),
    /// The model's config is invalid. Its author can correct it.
    #[error("{file}: {fault}")]
    Config {
        /// The config's file name.
        file: String,
        /// What is wrong, where, and what is needed.
        fault: String,
    },
    /// ONNX Runtime is missing or cannot be used. Retrying helps once it is installed.
    #[error("{0}")]
    Runtime(String),
    /// The model's file cannot be used. Retrying helps once the file has changed.
    #[error("{file}: {fault}")]
    File {
        /// `TEAM/MODEL`, below the models folder.
        file: String,
        /// What is wrong, and what is needed.
        fault: String,
    },
    /// The request timed out in the queue. Retrying may help.
    #[error("timed out: {0}")]
    Busy(String),
    /// The model did not return. Retrying helps once it has returned or its file has changed.
    #[error(
        "{file}: it took longer than {timeout:?} and gets no requests until it has returned or its file has changed"
    )]
    Stuck {
        /// `TEAM/MODEL`, below the models folder.
        file: String,
        /// The timeout of a run.
        timeout: Duration,
    },
    /// The values do not fit the input of the model.
    #[error("values: {0}")]
    Values(String),
    /// An internal error.
    #[error("{0}")]
    Fault(String),
}

impl ModelError {
    /// All results of [`Self::kind`].
    pub(super) const KINDS: [&str; 9] =
        ["unknown", "folder", "config", "runtime", "file", "busy", "stuck", "values", "fault"];

    /// The word for the metrics.
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

/// Why a session returned no states.
#[derive(Debug)]
pub(super) enum PredictionFailure {
    /// The values do not fit its input.
    Values(String),
    /// The model failed.
    Model(String),
}

impl PredictionFailure {
    /// The error for the model `team/model`.
    pub(super) fn of(self, team: &str, model: &str) -> ModelError {
        match self {
            Self::Values(fault) => ModelError::Values(fault),
            Self::Model(fault) => ModelError::File { file: format!("{team}/{model}"), fault },
        }
    }
}

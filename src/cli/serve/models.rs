//! The options of hosted models.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::model::{DEFAULT_MODEL_MEMORY_BYTES, MODEL_TIMEOUT, ModelOptions};

/// The options of hosted models.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Models")]
pub struct ModelArgs {
    /// The directory of the configs of hosted models, `*.json` [default: no models are hosted]
    #[arg(long, env = "LIFEGUARD_CONFIG", value_name = "DIRECTORY")]
    pub config: Option<PathBuf>,

    /// The directory of the model files, `TEAM/MODEL` [default: no models are hosted]
    #[arg(long, env = "LIFEGUARD_MODELS", value_name = "DIRECTORY")]
    pub models: Option<PathBuf>,

    /// The maximum size in bytes of the model files in memory; the least recently used model is evicted first
    #[arg(long, env = "LIFEGUARD_MODEL_MEMORY", value_name = "BYTES", default_value_t = DEFAULT_MODEL_MEMORY_BYTES)]
    pub model_memory: u64,

    /// ONNX Runtime's shared library [default: where the system's linker finds it, or `onnxruntime` in the data directory]
    #[arg(long, env = "LIFEGUARD_ONNXRUNTIME", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,
}

impl Default for ModelArgs {
    /// No models are hosted.
    fn default() -> Self {
        Self { config: None, models: None, model_memory: DEFAULT_MODEL_MEMORY_BYTES, onnxruntime: None }
    }
}

impl ModelArgs {
    /// The model options of a server with the data directory `data_dir`.
    pub(super) fn options(self, data_dir: &Path) -> ModelOptions {
        let Self { config, models, model_memory, onnxruntime } = self;
        match (&config, &models) {
            (Some(_), None) => tracing::warn!("--config without --models: no model can be loaded"),
            (None, Some(_)) => tracing::warn!("--models without --config: no model is hosted"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        ModelOptions {
            config,
            models,
            memory_bytes: model_memory,
            onnxruntime,
            onnxruntime_folder: data_dir.join("onnxruntime"),
            timeout: MODEL_TIMEOUT,
        }
    }
}

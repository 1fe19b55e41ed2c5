//! The folders and limits of models.

use std::path::PathBuf;
use std::time::Duration;

/// The default memory limit, in bytes of model files.
pub const DEFAULT_MODEL_MEMORY_BYTES: u64 = 256 * 1024 * 1024;

/// The default timeout of a request in all, and of one run, in real time.
pub const MODEL_TIMEOUT: Duration = Duration::from_secs(10);

/// The folders and limits of models.
#[derive(Debug, Clone, Default)]
pub struct ModelOptions {
    /// The folder of the configs.
    pub config: Option<PathBuf>,
    /// The folder of the models: `TEAM/MODEL`.
    pub models: Option<PathBuf>,
    /// The memory limit, in bytes of model files.
    pub memory_bytes: u64,
    /// ONNX Runtime's shared library.
    pub onnxruntime: Option<PathBuf>,
    /// The folder where pip may have installed ONNX Runtime, searched last.
    pub onnxruntime_folder: PathBuf,
    /// The timeout of a request in all, and of one run: [`MODEL_TIMEOUT`].
    pub timeout: Duration,
}

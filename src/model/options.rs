//! Where models are, and what they may take.

use std::path::PathBuf;
use std::time::Duration;

/// How much of model files is kept in memory unless something else is said, in bytes.
pub const DEFAULT_MODEL_MEMORY_BYTES: u64 = 256 * 1024 * 1024;

/// How long whoever asks waits in all unless something else is said, in real time; and how long one run may take.
pub const MODEL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where models are, and how much memory they may take.
#[derive(Debug, Clone, Default)]
pub struct ModelOptions {
    /// The folder of the configs.
    pub config: Option<PathBuf>,
    /// The folder of the models: `TEAM/MODEL`.
    pub models: Option<PathBuf>,
    /// The most that is kept in memory, in bytes of model files.
    pub memory_bytes: u64,
    /// ONNX Runtime's shared library.
    pub onnxruntime: Option<PathBuf>,
    /// Where pip may have put ONNX Runtime, if it is nowhere else.
    pub onnxruntime_folder: PathBuf,
    /// How long whoever asks waits in all, and how long one run may take: [`PATIENCE`].
    pub timeout: Duration,
}

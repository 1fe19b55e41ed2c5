//! Hosted prediction models: which state a thing is in, judged by what was measured of it.
//!
//! A config names a model and the states that its classes stand for; the model is a file of ONNX's format, which ONNX
//! Runtime runs in this process. A model is loaded when it is first asked, tried and compared with its config, kept in
//! memory within a bound, and loaded again when its file has changed. Models are data, never code: a pickle is not opened.
//!
//! ```text
//! config → file → runtime → session { input, labels }      each refuses what it cannot vouch for, and says why
//!            └── cache ───────┘
//! ```
//!
//! Whoever asks waits in the queue, and never longer than [`PATIENCE`]: a model that does not return keeps nobody from
//! the others.
//!
//! The engine asks for guards that say `predict(…)`, and HTTP for whoever asks there.

mod cache;
mod config;
mod error;
mod file;
mod host;
mod input;
mod labels;
mod metrics;
mod models;
mod operators;
mod options;
mod queue;
mod runtime;
mod session;
mod values;
mod view;

pub use self::error::ModelError;
pub use self::metrics::ModelCounts;
pub use self::models::Models;
pub use self::options::{DEFAULT_MODEL_MEMORY_BYTES, MODEL_TIMEOUT, ModelOptions};
pub use self::runtime::TESTED_VERSION;
pub use self::values::Values;
pub use self::view::{ModelStatus, ModelView, RuntimeView};

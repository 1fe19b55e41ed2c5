//! Hosted prediction models: they predict states from rows of measured numbers.
//!
//! A config names a model and the states of its classes; the model is an ONNX file, which ONNX Runtime runs in this process.
//! A model is loaded by its first request, tried and compared with its config, cached within a memory limit, and loaded again
//! when its file has changed. Models are data, never code: a pickle is not opened.
//!
//! ```text
//! config → file → runtime → session { input, labels }      each step refuses what it cannot verify, with the reason
//!            └── cache ───────┘
//! ```
//!
//! Requests wait in a queue for at most [`MODEL_TIMEOUT`]; a model that does not return does not block other models.
//!
//! Callers are the engine, for guards with `predict(…)`, and the HTTP interface.

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

//! Tests of hosted models, run by a real ONNX Runtime.

mod hanging_model;
mod hosting;
mod http;
mod vectors;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use lifeguard::cli::serve::{LifeguardServer, ModelArgs, ServeOptions};
use lifeguard::clock::ManualClock;
use lifeguard::model::{DEFAULT_MODEL_MEMORY_BYTES, MODEL_TIMEOUT, ModelOptions, Models};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::database::{TestDatabase, database};
use crate::world::options;

/// The shared library of ONNX Runtime.
///
/// `None`, with a note, if its path is not configured: the test is then skipped. With `LIFEGUARD_TEST_FOREIGN=1`, as in
/// CI, that fails the test.
pub(crate) fn onnxruntime() -> Option<PathBuf> {
    let found = std::env::var_os("LIFEGUARD_TEST_ONNXRUNTIME").map(PathBuf::from);
    if found.is_none() {
        let is_required = std::env::var_os("LIFEGUARD_TEST_FOREIGN").is_some_and(|value| value == "1");
        assert!(!is_required, "LIFEGUARD_TEST_FOREIGN=1 needs LIFEGUARD_TEST_ONNXRUNTIME: libonnxruntime.so");
        let note = "skipped: LIFEGUARD_TEST_ONNXRUNTIME is not the path of ONNX Runtime's libonnxruntime.so";
        writeln!(std::io::stderr(), "{note}").ok();
    }
    found
}

/// A directory of configs and one of models.
pub(crate) struct Folders {
    pub(crate) folder: TempDir,
}

impl Folders {
    /// Creates empty directories.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["configs", "models/team"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    pub(crate) fn configs(&self) -> PathBuf {
        self.folder.path().join("configs")
    }

    pub(crate) fn models(&self) -> PathBuf {
        self.folder.path().join("models")
    }

    /// The file of a model.
    pub(crate) fn model(&self, name: &str) -> PathBuf {
        self.models().join("team").join(format!("{name}.onnx"))
    }

    /// Writes a config, for a model of the same name.
    pub(crate) fn config(&self, name: &str, states: &[&str]) {
        let config =
            json!({ "name": name, "team": "team", "model": format!("{name}.onnx"), "states": states });
        fs::write(self.configs().join(format!("{name}.json")), config.to_string()).unwrap();
    }

    /// Hosts a model of the fixtures under this name.
    pub(crate) fn host(&self, name: &str, states: &[&str]) {
        self.config(name, states);
        fs::copy(fixture(name), self.model(name)).unwrap();
    }

    /// The arguments of a server that hosts them.
    pub(crate) fn args(&self, onnxruntime: &Path) -> ModelArgs {
        ModelArgs {
            config: Some(self.configs()),
            models: Some(self.models()),
            onnxruntime: Some(onnxruntime.to_owned()),
            ..ModelArgs::default()
        }
    }

    /// The options for hosting them.
    pub(crate) fn options(&self, onnxruntime: &Path) -> ModelOptions {
        ModelOptions {
            config: Some(self.configs()),
            models: Some(self.models()),
            memory_bytes: DEFAULT_MODEL_MEMORY_BYTES,
            onnxruntime: Some(onnxruntime.to_owned()),
            onnxruntime_folder: self.folder.path().join("onnxruntime"),
            timeout: MODEL_TIMEOUT,
        }
    }

    /// Hosts them.
    pub(crate) fn open(&self, onnxruntime: &Path) -> Models {
        hosted(self.options(onnxruntime))
    }
}

/// Hosts models.
pub(crate) fn hosted(options: ModelOptions) -> Models {
    let clock = ManualClock::new("2026-01-01T12:00:00Z".parse().unwrap());
    Models::new(options, Arc::new(clock))
}

/// The file of a model created by `fixtures/models/make_vectors.py`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/state_service");
    folder.join(format!("{name}.onnx"))
}

/// A whole server that hosts models.
pub(crate) struct Hosting {
    server: LifeguardServer,
    _database: TestDatabase,
    _folder: TempDir,
}

impl Hosting {
    /// Starts it.
    pub(crate) async fn start(models: ModelArgs) -> Self {
        let database = database().await;
        let folder = tempfile::tempdir().unwrap();
        let options = ServeOptions { models, ..options(&database, &folder) };
        let clock = ManualClock::new("2026-01-01T12:00:00Z".parse().unwrap());
        let server = LifeguardServer::start(options, Arc::new(clock)).await.unwrap();
        Self { server, _database: database, _folder: folder }
    }

    /// Its HTTP address.
    pub(crate) fn http(&self) -> SocketAddr {
        self.server.http
    }

    /// Stops it.
    pub(crate) async fn stop(self) {
        self.server.stop().await.unwrap();
    }
}

/// A model's prediction or error, as text.
async fn predict_text(models: &Models, model: &str, values: Value) -> String {
    match models.predict(model, &values).await {
        Ok(states) => states.join(" "),
        Err(error) => format!("{}: {error}", error.kind()),
    }
}

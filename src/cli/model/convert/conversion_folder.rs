//! The ONNX file before it is one: hosted as a server would, from a folder of its own that goes when nothing came of it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::python::ConvertedModel;
use crate::clock::SystemClock;
use crate::model::{MODEL_TIMEOUT, ModelError, ModelOptions, Models};

/// What configs and errors call the model here.
const MODEL_NAME: &str = "converted";
const TEAM_NAME: &str = "draft";

/// A folder beside the file that is to be, with a config and a model in it.
#[derive(Debug)]
pub(super) struct ConversionFolder {
    folder: PathBuf,
}

impl ConversionFolder {
    /// Writes the model and a config for it, which names `states`, beside `output`.
    ///
    /// # Errors
    ///
    /// Why they cannot be written. Nothing is left then.
    pub(super) fn write(output: &Path, onnx: &[u8], states: &[String]) -> Result<Self, Box<dyn Error>> {
        let name = output.file_name().ok_or_else(|| format!("{} is not a file's name", output.display()))?;
        let name = format!(".{}.{}", name.to_string_lossy(), std::process::id());
        let folder = output.with_file_name(name);
        fs_err::create_dir(&folder)?;
        let draft = Self { folder };
        fs_err::create_dir_all(draft.models().join(TEAM_NAME))?;
        fs_err::create_dir(draft.config())?;
        fs_err::write(draft.file(), onnx)?;
        let config =
            json!({ "name": MODEL_NAME, "team": TEAM_NAME, "model": "model.onnx", "states": states });
        fs_err::write(draft.config().join("model.json"), config.to_string())?;
        Ok(draft)
    }

    /// Judges the sample rows as the server would; the state of each is the name of its class. ONNX Runtime is the library
    /// `onnxruntime`, or that which the system's linker finds, or that of the Python environment.
    ///
    /// # Errors
    ///
    /// What is wrong with the model, or that there is no runtime.
    pub(super) async fn predict(
        &self,
        onnxruntime: Option<PathBuf>,
        converted: &ConvertedModel,
    ) -> Result<Vec<String>, String> {
        let options = ModelOptions {
            config: Some(self.config()),
            models: Some(self.models()),
            memory_bytes: u64::MAX,
            onnxruntime,
            onnxruntime_folder: converted.packages.clone(),
            timeout: MODEL_TIMEOUT,
        };
        let models = Models::new(options, Arc::new(SystemClock));
        models.predict(MODEL_NAME, &json!(converted.rows)).await.map_err(|error| match error {
            // Its name was only ours.
            ModelError::File { fault, .. } => format!("the ONNX file that came of it: {fault}"),
            ModelError::Values(_)
            | ModelError::Runtime(_)
            | ModelError::Config { .. }
            | ModelError::Folder(_)
            | ModelError::Unknown(_)
            | ModelError::Busy(_)
            | ModelError::Stuck { .. }
            | ModelError::Fault(_) => error.to_string(),
        })
    }

    /// Puts the file where it belongs, in one step.
    ///
    /// # Errors
    ///
    /// Why it cannot be put there; what was there before still is.
    pub(super) fn move_model_to(self, output: &Path) -> Result<(), Box<dyn Error>> {
        fs_err::File::open(self.file())?.sync_all()?;
        Ok(fs_err::rename(self.file(), output)?)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    fn models(&self) -> PathBuf {
        self.folder.join("models")
    }

    fn file(&self) -> PathBuf {
        self.models().join(TEAM_NAME).join("model.onnx")
    }
}

impl Drop for ConversionFolder {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_dir_all(&self.folder) {
            tracing::warn!(error = &error as &dyn Error, "a folder of the conversion is left");
        }
    }
}

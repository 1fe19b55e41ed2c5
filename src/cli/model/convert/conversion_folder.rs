//! The temporary folder of a conversion, from which the new model is hosted and checked as a server would.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::python::ConvertedModel;
use crate::clock::SystemClock;
use crate::formatting::with_causes;
use crate::model::{MODEL_TIMEOUT, ModelError, ModelOptions, Models};

/// The name of the model in the temporary config.
const MODEL_NAME: &str = "converted";
const TEAM_NAME: &str = "converted";

/// A temporary folder beside the output file, with a config and the model.
#[derive(Debug)]
pub(super) struct ConversionFolder {
    folder: PathBuf,
}

impl ConversionFolder {
    /// Writes the model and a config with `states` to a folder beside `output`.
    ///
    /// # Errors
    ///
    /// Why they cannot be written. Nothing is left then.
    pub(super) fn write(output: &Path, onnx: &[u8], states: &[String]) -> Result<Self, Box<dyn Error>> {
        let name = output.file_name().ok_or_else(|| format!("{} is not a file's name", output.display()))?;
        let name = format!(".{}.{}", name.to_string_lossy(), std::process::id());
        let folder = output.with_file_name(name);
        fs_err::create_dir(&folder)?;
        let conversion = Self { folder };
        fs_err::create_dir_all(conversion.models().join(TEAM_NAME))?;
        fs_err::create_dir(conversion.config())?;
        fs_err::write(conversion.file(), onnx)?;
        let config =
            json!({ "name": MODEL_NAME, "team": TEAM_NAME, "model": "model.onnx", "states": states });
        fs_err::write(conversion.config().join("model.json"), config.to_string())?;
        Ok(conversion)
    }

    /// Predicts the sample rows as the server would; the state of each is the name of its class. The library of ONNX Runtime is
    /// `onnxruntime`, or the one found by the system's linker, or that of the Python environment.
    ///
    /// # Errors
    ///
    /// The fault of the model, or that there is no runtime.
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
            // The temporary name means nothing to the user.
            ModelError::File { fault, .. } => format!("the converted ONNX file: {fault}"),
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

    /// Moves the file to `output` atomically.
    ///
    /// # Errors
    ///
    /// Why it cannot be moved; an earlier file is unchanged.
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
            tracing::warn!(error = %with_causes(&error), "cannot remove temporary directory");
        }
    }
}

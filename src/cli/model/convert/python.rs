//! Asks a Python environment to unpickle a model and to write it as ONNX.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What the environment runs.
const CONVERT_SCRIPT: &str = include_str!("convert.py");

/// Reads what the script answers: a model, or why it refuses it.
///
/// Not by an untagged enum: those take numbers apart before they know what they are for, which numbers that are kept digit
/// by digit do not survive.
fn answer(line: &[u8]) -> serde_json::Result<Result<ConvertedModel, String>> {
    let answer: Value = serde_json::from_slice(line)?;
    match answer.get("error").and_then(Value::as_str) {
        Some(error) => Ok(Err(error.to_owned())),
        None => serde_json::from_value(answer).map(Ok),
    }
}

/// A model that was converted, and what scikit-learn predicts with it.
#[derive(Debug, Deserialize)]
pub(super) struct ConvertedModel {
    /// Its kind.
    pub(super) model: String,
    /// How many numbers a row has.
    pub(super) width: usize,
    /// What they are called, where the model was trained with names.
    pub(super) columns: Vec<String>,
    /// The sample rows.
    pub(super) rows: Vec<Vec<f64>>,
    /// The class of each.
    pub(super) labels: Vec<Value>,
    /// All classes, as far as the model shows them.
    pub(super) classes: Vec<Value>,
    /// The folder in which the environment has ONNX Runtime's package, or would have it.
    pub(super) packages: PathBuf,
    /// Who predicted, with its version.
    pub(super) by: String,
    /// What Python warned of.
    pub(super) warnings: Vec<String>,
    /// The ONNX file.
    #[serde(skip)]
    pub(super) onnx: Vec<u8>,
}

/// Converts the model pickled in `pickle` by the interpreter `python`. Without `samples` it makes rows of its own.
///
/// # Errors
///
/// What the script refuses and why, or how the interpreter failed. Nothing is written by us; the pickle's code may do
/// anything.
pub(super) async fn convert(
    python: &Path,
    pickle: &Path,
    samples: Option<&[Vec<f64>]>,
) -> Result<ConvertedModel, Box<dyn Error>> {
    // Isolated: neither the working directory nor PYTHONPATH decides which packages are taken.
    let mut child = Command::new(python)
        .args(["-I", "-c", CONVERT_SCRIPT])
        .args([pickle, python])
        // Builds of ONNX Runtime from 1.29 on note each use, unless they are told not to.
        .env("ORT_DISABLE_TELEMETRY", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("--python {}: {error}", python.display()))?;
    let samples = serde_json::to_vec(&samples)?;
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // One that ends without reading says why by its end.
            let _ = stdin.write_all(&samples).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output?;
    let end = output.stdout.iter().position(|byte| *byte == b'\n');
    let (line, onnx) = output.stdout.split_at(end.map_or(0, |end| end + 1));
    match answer(line) {
        Ok(Err(error)) => Err(format!("{}: {error}", pickle.display()).into()),
        Ok(Ok(converted)) => Ok(ConvertedModel { onnx: onnx.to_vec(), ..converted }),
        Err(_) => {
            let told = String::from_utf8_lossy(&output.stderr);
            let last = told.trim_end().lines().next_back().unwrap_or("it said nothing");
            let (python, status) = (python.display(), output.status);
            Err(format!("{}: {python} ended without an answer ({status}): {last}", pickle.display()).into())
        }
    }
}

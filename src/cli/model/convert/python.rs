//! Runs the conversion script in a Python environment, which unpickles a model and converts it to ONNX.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The conversion script.
const CONVERT_SCRIPT: &str = include_str!("convert.py");

/// Reads the answer of the script: a model, or why it is refused.
///
/// An untagged enum would not do: it buffers numbers in a form that arbitrary-precision numbers cannot be read from.
fn answer(line: &[u8]) -> serde_json::Result<Result<ConvertedModel, String>> {
    let answer: Value = serde_json::from_slice(line)?;
    match answer.get("error").and_then(Value::as_str) {
        Some(error) => Ok(Err(error.to_owned())),
        None => serde_json::from_value(answer).map(Ok),
    }
}

/// A converted model, with scikit-learn's predictions.
#[derive(Debug, Deserialize)]
pub(super) struct ConvertedModel {
    /// Its kind.
    pub(super) model: String,
    /// The number of values in a row.
    pub(super) width: usize,
    /// The names of the columns, if the model was trained with names.
    pub(super) columns: Vec<String>,
    /// The sample rows.
    pub(super) rows: Vec<Vec<f64>>,
    /// The class of each.
    pub(super) labels: Vec<Value>,
    /// All classes that the model shows.
    pub(super) classes: Vec<Value>,
    /// The folder of packages in the environment, where ONNX Runtime may be.
    pub(super) packages: PathBuf,
    /// The library that predicted, with its version.
    pub(super) predictor: String,
    /// The warnings of Python.
    pub(super) warnings: Vec<String>,
    /// The ONNX file.
    #[serde(skip)]
    pub(super) onnx: Vec<u8>,
}

/// Converts the model in `pickle` with the interpreter `python`. Without `samples` the script generates rows.
///
/// # Errors
///
/// The refusal of the script, or the failure of the interpreter. Lifeguard writes nothing; the code of the pickle may do
/// anything.
pub(super) async fn convert(
    python: &Path,
    pickle: &Path,
    samples: Option<&[Vec<f64>]>,
) -> Result<ConvertedModel, Box<dyn Error>> {
    // Isolated: neither the working directory nor PYTHONPATH affects which packages are used.
    let mut child = Command::new(python)
        .args(["-I", "-c", CONVERT_SCRIPT])
        .args([pickle, python])
        // Builds of ONNX Runtime from 1.29 on record each use unless this is set.
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
            // If the script ends without reading, its exit says why.
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
            let stderr = String::from_utf8_lossy(&output.stderr);
            let last = stderr.trim_end().lines().next_back().unwrap_or("no output");
            let (python, status) = (python.display(), output.status);
            Err(format!("{}: {python} ended without an answer ({status}): {last}", pickle.display()).into())
        }
    }
}

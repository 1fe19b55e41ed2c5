//! `lifeguard model convert`: converts a pickled scikit-learn model to an ONNX file. The server itself never unpickles.
//!
//! scikit-learn and skl2onnx run once and offline, in a Python environment of the user. The result is loaded by the server's
//! runtime and must predict sample rows as scikit-learn does; only then the file is written.

mod classes;
mod conversion_folder;
mod python;
mod samples;

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::super::output;
use super::super::serve::asked_to_stop;
use crate::formatting::count;
use crate::model::TESTED_VERSION;
use conversion_folder::ConversionFolder;
use python::ConvertedModel;

/// The text of `--help`.
pub(super) fn about() -> String {
    format!(
        "Convert a pickled scikit-learn model to an ONNX file, and check that both predict the same.\n\n\
         A pickle is a program: THIS RUNS THE CODE IN THE FILE as your user, so convert only files that you trust. The server \
         never runs it; it hosts the ONNX file, which is data.\n\n\
         The Python environment needs scikit-learn, preferably in the version that made the pickle, and skl2onnx; ONNX Runtime \
         may be there, or where servers find it:\n\n    \
         python3 -m venv convert\n    \
         convert/bin/pip install scikit-learn skl2onnx onnxruntime=={TESTED_VERSION}\n    \
         lifeguard model convert --python convert/bin/python colors_v1.pkl\n\n\
         Files of joblib are read too. Sample rows are predicted by scikit-learn and by the server's runtime; if a class \
         differs, the first such row is printed and no file is written. Nothing is downloaded."
    )
}

/// Options of `lifeguard model convert`.
#[derive(Debug, Args)]
pub(super) struct ConvertOptions {
    /// The model, pickled by `pickle` or `joblib`; its code is executed
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The interpreter of the Python environment that has scikit-learn and skl2onnx
    #[arg(long, value_name = "FILE")]
    python: PathBuf,

    /// The ONNX file to write; an existing file is replaced [default: FILE with the extension .onnx]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Rows to compare predictions on: a JSON list of rows, or CSV [default: 1,000 generated rows around the training data,
    /// without rows where rounding decides]
    #[arg(long, value_name = "FILE")]
    samples: Option<PathBuf>,

    /// The library of ONNX Runtime to compare with [default: the one found by the system's linker, or else the package
    /// onnxruntime of the Python environment]
    #[arg(long, env = "LIFEGUARD_ONNXRUNTIME", value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
}

/// Converts the model. Nothing is left behind on errors.
pub(super) async fn run(options: ConvertOptions) -> Result<(), Box<dyn Error>> {
    let output = match &options.output {
        Some(output) => output.clone(),
        None => options.file.with_extension("onnx"),
    };
    // The paths may differ in spelling.
    let same = |path: &Path| fs_err::canonicalize(path).ok();
    if output == options.file || same(&output).is_some_and(|output| same(&options.file) == Some(output)) {
        return Err(format!(
            "{}: the ONNX file would replace the model; name another file with --output",
            output.display()
        )
        .into());
    }
    let signal = asked_to_stop()?;
    tokio::select! {
        done = convert(&options, &output) => done,
        () = signal => Err("interrupted; nothing was written".into()),
    }
}

async fn convert(options: &ConvertOptions, output: &Path) -> Result<(), Box<dyn Error>> {
    let ConvertOptions { file, python, samples, onnxruntime, .. } = options;
    let samples = samples.as_deref().map(samples::read).transpose()?;
    let converted = python::convert(python, file, samples.as_deref()).await?;
    for warning in &converted.warnings {
        output::complain(&format!("{}: {warning}", file.display()));
    }
    let in_file = |fault: String| format!("{}: {fault}", file.display());
    let states = classes::states(&converted.classes).map_err(in_file)?;
    let folder = ConversionFolder::write(output, &converted.onnx, &states)?;
    let predicted = folder.predict(onnxruntime.clone(), &converted).await.map_err(in_file)?;
    let expected =
        converted.labels.iter().map(classes::name).collect::<Result<Vec<_>, _>>().map_err(in_file)?;
    compare(&converted, &expected, &predicted).map_err(in_file)?;
    folder.move_model_to(output)?;
    let unseen: Vec<&str> =
        states.iter().filter(|state| !expected.contains(state)).map(String::as_str).collect();
    if !unseen.is_empty() {
        output::complain(&format!(
            "{}: no sample row is of class {}; give rows of that class with --samples",
            file.display(),
            unseen.join(", ")
        ));
    }
    Ok(output::print(&output::shown(&summary(&converted, output, &states, &expected)))?)
}

/// Checks that both predict the same class for each row.
fn compare(converted: &ConvertedModel, expected: &[String], predicted: &[String]) -> Result<(), String> {
    if predicted.len() != expected.len() {
        return Err(format!("ONNX Runtime predicts {} rows of {}", predicted.len(), expected.len()));
    }
    let all = expected.iter().zip(predicted).zip(&converted.rows).enumerate();
    let mut different = all.filter(|(_, ((expected, predicted), _))| expected != predicted);
    let Some((index, ((expected, predicted), row))) = different.next() else { return Ok(()) };
    Err(format!(
        "sample row {}, {row:?}: {} says {expected}, ONNX Runtime, with 32-bit numbers, says {predicted}; {} of {} rows \
         differ, and nothing was written",
        index + 1,
        converted.predictor,
        1 + different.count(),
        converted.rows.len(),
    ))
}

/// The result as text.
fn summary(converted: &ConvertedModel, output: &Path, states: &[String], expected: &[String]) -> String {
    let ConvertedModel { model, width, columns, rows, classes, predictor, .. } = converted;
    let times = states.iter().map(|state| {
        let times = expected.iter().filter(|expected| *expected == state).count();
        format!("{state} {}", count(times, "time"))
    });
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let is_named = classes.iter().all(Value::is_string);
    let subject = if is_named { "these states" } else { "a state for each class, in this order" };
    format!(
        "{}: {model}, {} a row{}{}\n\
         {} rows are predicted as by {predictor}: {}\n\
         its config says \"model\": \"{name}\" and has {subject}: {}",
        output.display(),
        count(*width, "number"),
        if columns.is_empty() { "" } else { ": " },
        columns.join(", "),
        rows.len(),
        times.collect::<Vec<_>>().join(", "),
        states.join(", "),
    )
}

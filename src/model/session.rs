//! One model in ONNX Runtime: checked when it is loaded, run with many rows at once.

use ort::ErrorCode;
use ort::ep::CPU;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session as Runner};

use super::error::PredictionFailure;
use super::input::ModelInput;
use super::labels::{check_classes, check_labels, predicted_states};
use super::operators;
use super::runtime::{LoadedRuntime, describe_error};
use super::values::{ValueLayout, Values};

/// The folder for weights outside the model's own file: none, because they could be any file.
const NO_WEIGHTS_FOLDER: &str = "/dev/null";

/// The number of rows of the trial run: two, so that one label for all rows is not mistaken for one label for each.
const TRIAL_ROWS: usize = 2;

/// A loaded model.
pub(super) struct ModelSession {
    runner: Runner,
    only_labels: RunOptions<HasSelectedOutputs>,
    input: ModelInput,
}

impl ModelSession {
    /// Loads an ONNX model and tries it. Blocks.
    ///
    /// # Errors
    ///
    /// What is wrong with it: it is not an ONNX file, has an operator that the runtime does not support, has an unsupported
    /// input or output, or its number of classes is not the number of `states`.
    pub(super) fn load(runtime: &LoadedRuntime, bytes: &[u8], states: &[String]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("it is empty".to_owned());
        }
        // Before the runtime loads it, because that evaluates constant expressions.
        operators::check(bytes)?;
        let runner = build(runtime, bytes).map_err(|error| {
            let is_whole = error.code() != ErrorCode::InvalidProtobuf;
            if is_whole {
                describe_error(&error)
            } else {
                "it is not an ONNX file, or an incomplete one".to_owned()
            }
        })?;
        let input = ModelInput::of(&runner)?;
        let output = runner.outputs().first().ok_or("it has no output")?;
        check_labels(output.dtype())?;
        let selector = OutputSelector::no_default().with(output.name());
        let only_labels = RunOptions::new().map_err(|error| describe_error(&error))?.with_outputs(selector);
        let mut session = Self { runner, only_labels, input };
        session.try_zeros(states)?;
        Ok(session)
    }

    /// The number of values in a row; `None` for a model that takes a plain list.
    pub(super) fn width(&self) -> Option<usize> {
        match self.input.layout {
            ValueLayout::List => None,
            ValueLayout::Rows(width) => Some(width),
        }
    }

    /// Predicts the states of all rows. Blocks.
    ///
    /// # Errors
    ///
    /// [`PredictionFailure`].
    pub(super) fn predict(
        &mut self,
        values: &Values,
        states: &[String],
    ) -> Result<Vec<String>, PredictionFailure> {
        self.input.check(values).map_err(PredictionFailure::Values)?;
        let mut all = Vec::with_capacity(values.len());
        let Self { runner, only_labels, input } = self;
        input.run_each(values, |tensor, run| {
            let outputs =
                runner.run_with_options([tensor], only_labels).map_err(|error| describe_error(&error))?;
            all.extend(predicted_states(&outputs, run, states)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Runs the model with zeros, which finds operators that cannot run, and the number of classes.
    fn try_zeros(&mut self, states: &[String]) -> Result<(), String> {
        let count = match self.input.layout {
            ValueLayout::Rows(_) => TRIAL_ROWS,
            ValueLayout::List => self.input.length.unwrap_or(1),
        };
        let zeros = Values::zeros(count, self.input.layout);
        let Self { runner, input, .. } = self;
        let result = input.run_each(&zeros, |tensor, run| {
            let outputs = runner
                .run([tensor])
                .map_err(|error| format!("tried with zeros, {}", describe_error(&error)))?;
            check_classes(&outputs, states)?;
            predicted_states(&outputs, run, states).map(drop)
        });
        result.map_err(|failure| {
            let (PredictionFailure::Values(fault) | PredictionFailure::Model(fault)) = failure;
            fault
        })
    }
}

fn build(runtime: &LoadedRuntime, bytes: &[u8]) -> ort::Result<Runner> {
    // One thread: requests already run in parallel, and the runtime's waiting threads spin.
    // No arena: it would keep the largest allocation of any run, for each model.
    Runner::builder(&runtime.environment)?
        .with_execution_providers([CPU::default().with_arena_allocator(false).build()])?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_config_entry("session.model_external_initializers_file_folder_path", NO_WEIGHTS_FOLDER)?
        .commit_from_memory(bytes)
}

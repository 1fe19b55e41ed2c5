//! One model as ONNX Runtime runs it: checked when it is loaded, asked for many rows at once.

use ort::ErrorCode;
use ort::ep::CPU;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session as Runner};

use super::error::PredictionFailure;
use super::input::ModelInput;
use super::labels::{check_classes, check_labels, predicted_states};
use super::operators;
use super::runtime::{LoadedRuntime, describe_error};
use super::values::{ValueLayout, Values};

/// Where weights that a model keeps outside its own file are looked for: nowhere, for they could be any file.
const NO_WEIGHTS_FOLDER: &str = "/dev/null";

/// How many rows a model is tried with: two, so that one answer for all is not taken for one each.
const TRIAL_ROWS: usize = 2;

/// A model that is loaded.
pub(super) struct ModelSession {
    runner: Runner,
    only_labels: RunOptions<HasSelectedOutputs>,
    input: ModelInput,
}

impl ModelSession {
    /// Loads a model of ONNX's format and tries it. Blocks.
    ///
    /// # Errors
    ///
    /// What is wrong with it: it is not of the format, has an operator that the runtime has not, takes or gives something
    /// else than we have, or has another number of classes than there are `states`.
    pub(super) fn load(runtime: &LoadedRuntime, bytes: &[u8], states: &[String]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("it is empty".to_owned());
        }
        // Also what the runtime works out beforehand.
        operators::check(bytes)?;
        let runner = build(runtime, bytes).map_err(|error| {
            let is_whole = error.code() != ErrorCode::InvalidProtobuf;
            if is_whole {
                describe_error(&error)
            } else {
                "it is no file of ONNX's format, or not all of one".to_owned()
            }
        })?;
        let input = ModelInput::of(&runner)?;
        let output = runner.outputs().first().ok_or("it gives nothing")?;
        check_labels(output.dtype())?;
        let selector = OutputSelector::no_default().with(output.name());
        let only_labels = RunOptions::new().map_err(|error| describe_error(&error))?.with_outputs(selector);
        let mut session = Self { runner, only_labels, input };
        session.try_zeros(states)?;
        Ok(session)
    }

    /// How many numbers each row must have; `None` of a model that takes one plain list.
    pub(super) fn width(&self) -> Option<usize> {
        match self.input.layout {
            ValueLayout::List => None,
            ValueLayout::Rows(width) => Some(width),
        }
    }

    /// Judges all rows. Blocks.
    ///
    /// # Errors
    ///
    /// [`Failure`].
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

    /// Runs zeros through it, which finds operators that cannot run, and shows how many classes there are.
    fn try_zeros(&mut self, states: &[String]) -> Result<(), String> {
        let count = match self.input.layout {
            ValueLayout::Rows(_) => TRIAL_ROWS,
            ValueLayout::List => self.input.length.unwrap_or(1),
        };
        let zeros = Values::zeros(count, self.input.layout);
        let Self { runner, input, .. } = self;
        let tried = input.run_each(&zeros, |tensor, run| {
            let outputs = runner
                .run([tensor])
                .map_err(|error| format!("tried with zeros, {}", describe_error(&error)))?;
            check_classes(&outputs, states)?;
            predicted_states(&outputs, run, states).map(drop)
        });
        tried.map_err(|failure| {
            let (PredictionFailure::Values(what) | PredictionFailure::Model(what)) = failure;
            what
        })
    }
}

fn build(runtime: &LoadedRuntime, bytes: &[u8]) -> ort::Result<Runner> {
    // One thread: rows come in one call, requests side by side, and threads that wait spin.
    // No arena: it would keep the most that one run ever took, for each model, for ever.
    Runner::builder(&runtime.environment)?
        .with_execution_providers([CPU::default().with_arena_allocator(false).build()])?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_config_entry("session.model_external_initializers_file_folder_path", NO_WEIGHTS_FOLDER)?
        .commit_from_memory(bytes)
}

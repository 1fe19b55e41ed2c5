//! One model as ONNX Runtime runs it: checked when it is loaded, asked for many rows at once.

use ort::ErrorCode;
use ort::session::{
    HasSelectedOutputs, OutputSelector, RunOptions, Session as Runner, SessionInputValue, SessionOutputs,
};
use ort::value::{DynMapValueType, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};

use super::ModelError;
use super::labels::to_states;
use super::runtime::Loaded;
use super::values::{Layout, Values, counted};

/// Where weights that a model keeps outside its own file are looked for: nowhere, for they could be any file.
const NO_FOLDER: &str = "/dev/null";

/// How many rows are run at once: a model that compares each row with many of its own would take memory for all of them.
const MAX_RUN: usize = 4096;

/// The most numbers that a row may have: no request can have more.
const MAX_WIDTH: usize = 1024 * 1024;

/// How many rows a model is tried with: two, so that one answer for all is not taken for one each.
const TRIED: usize = 2;

/// A model that is loaded.
pub(super) struct Session {
    runner: Runner,
    only_labels: RunOptions<HasSelectedOutputs>,
    input: Input,
}

/// What a model takes: one tensor.
#[derive(Debug, Clone, Copy)]
struct Input {
    numbers: Numbers,
    layout: Layout,
    /// How many numbers a plain list must have, where the model says so.
    length: Option<usize>,
}

/// The type of the numbers that a model takes.
#[derive(Debug, Clone, Copy)]
enum Numbers {
    Single,
    Double,
    Integer,
}

impl Session {
    /// Loads a model of ONNX's format and tries it. Blocks.
    ///
    /// # Errors
    ///
    /// What is wrong with it: it is not of the format, has an operator that the runtime has not, takes or gives something
    /// else than we have, or has another number of classes than there are `states`.
    pub(super) fn load(runtime: &Loaded, bytes: &[u8], states: &[String]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("it is empty".to_owned());
        }
        let runner = build(runtime, bytes).map_err(|error| {
            let is_whole = error.code() != ErrorCode::InvalidProtobuf;
            if is_whole {
                told(&error)
            } else {
                "it is no file of ONNX's format, or not all of one".to_owned()
            }
        })?;
        let input = Input::of(&runner)?;
        let output = runner.outputs().first().ok_or("it gives nothing")?;
        check_labels(output.dtype())?;
        let selector = OutputSelector::no_default().with(output.name());
        let only_labels = RunOptions::new().map_err(|error| told(&error))?.with_outputs(selector);
        let mut session = Self { runner, only_labels, input };
        session.try_it(states)?;
        Ok(session)
    }

    /// How many numbers each row must have; `None` of a model that takes one plain list.
    pub(super) fn width(&self) -> Option<usize> {
        match self.input.layout {
            Layout::List => None,
            Layout::Rows(width) => Some(width),
        }
    }

    /// Judges all rows. Blocks.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub(super) fn predict(&mut self, values: &Values, states: &[String]) -> Result<Vec<String>, Failure> {
        self.input.check(values).map_err(Failure::Values)?;
        let mut judged = Vec::with_capacity(values.len());
        let Self { runner, only_labels, input } = self;
        input.each(values, |tensor, run| {
            let outputs = runner.run_with_options([tensor], only_labels).map_err(|error| told(&error))?;
            judged.extend(run.states(&outputs, states)?);
            Ok(())
        })?;
        Ok(judged)
    }

    /// Runs zeros through it, which finds operators that cannot run, and shows how many classes there are.
    fn try_it(&mut self, states: &[String]) -> Result<(), String> {
        let count = match self.input.layout {
            Layout::Rows(_) => TRIED,
            Layout::List => self.input.length.unwrap_or(1),
        };
        let zeros = Values::zeros(count, self.input.layout);
        let Self { runner, input, .. } = self;
        let tried = input.each(&zeros, |tensor, run| {
            let outputs =
                runner.run([tensor]).map_err(|error| format!("tried with zeros, {}", told(&error)))?;
            check_classes(&outputs, states)?;
            run.states(&outputs, states).map(drop)
        });
        tried.map_err(|failure| {
            let (Failure::Values(what) | Failure::Model(what)) = failure;
            what
        })
    }
}

/// Why a session gave no states.
#[derive(Debug)]
pub(super) enum Failure {
    /// The values are not what it takes.
    Values(String),
    /// The model is to blame.
    Model(String),
}

impl Failure {
    /// Says so of the model `team/model`.
    pub(super) fn of(self, team: &str, model: &str) -> ModelError {
        match self {
            Self::Values(what) => ModelError::Values(what),
            Self::Model(fault) => ModelError::File { file: format!("{team}/{model}"), fault },
        }
    }
}

fn build(runtime: &Loaded, bytes: &[u8]) -> ort::Result<Runner> {
    // One thread: rows come in one call, requests side by side, and threads that wait spin.
    Runner::builder(&runtime.environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_config_entry("session.model_external_initializers_file_folder_path", NO_FOLDER)?
        .commit_from_memory(bytes)
}

impl Input {
    fn of(runner: &Runner) -> Result<Self, String> {
        let [input] = runner.inputs() else {
            let count = counted(runner.inputs().len(), "input");
            return Err(format!("it takes {count}; one is needed, a tensor of [N, WIDTH] numbers"));
        };
        let ValueType::Tensor { ty, shape, .. } = input.dtype() else {
            return Err(format!("it takes {}, not a tensor of numbers", input.dtype()));
        };
        let numbers = [
            (TensorElementType::Float32, Numbers::Single),
            (TensorElementType::Float64, Numbers::Double),
            (TensorElementType::Int64, Numbers::Integer),
        ];
        let Some((_, numbers)) = numbers.into_iter().find(|(known, _)| known == ty) else {
            return Err(format!("it takes a tensor of {ty}; float, double and int64 are known here"));
        };
        if let Some(many) =
            shape.iter().find(|size| usize::try_from(**size).is_ok_and(|size| size > MAX_WIDTH))
        {
            return Err(format!("it takes {many} numbers at a time; no request can have so many"));
        }
        let dimension = |size: i64| usize::try_from(size).ok().filter(|size| *size > 0);
        match shape[..] {
            [length] => Ok(Self { numbers, layout: Layout::List, length: dimension(length) }),
            [-1, width] => {
                let width = dimension(width).ok_or("its input does not say how many numbers a row has")?;
                Ok(Self { numbers, layout: Layout::Rows(width), length: None })
            }
            [count, _] => Err(format!("it takes {count} rows at a time; any number is needed")),
            _ => Err(format!("it takes a tensor of {} dimensions; [N, WIDTH] is needed", shape.len())),
        }
    }

    fn check(self, values: &Values) -> Result<(), String> {
        match (self.layout, values.layout()) {
            (Layout::Rows(width), Layout::Rows(given)) if width != given => {
                Err(format!("each row has {}, and this model takes {width}", counted(given, "number")))
            }
            (Layout::Rows(width), Layout::List) => {
                Err(format!("a list of rows is needed, each a list of {}", counted(width, "number")))
            }
            (Layout::List, Layout::Rows(_)) => {
                Err("this model takes one plain list of numbers, not rows".to_owned())
            }
            (Layout::List, Layout::List) => match self.length {
                Some(length) if length != values.len() => Err(format!(
                    "there are {}, and this model takes {length}",
                    counted(values.len(), "number")
                )),
                _ => Ok(()),
            },
            (Layout::Rows(_), Layout::Rows(_)) => Ok(()),
        }
    }

    /// Makes the tensors that the model takes, and runs each.
    fn each(
        self,
        values: &Values,
        run: impl FnMut(SessionInputValue<'_>, Run) -> Result<(), String>,
    ) -> Result<(), Failure> {
        match self.numbers {
            Numbers::Single => tensors(&values.singles().map_err(Failure::Values)?, values, run),
            Numbers::Double => tensors(values.doubles(), values, run),
            Numbers::Integer => tensors(&values.integers().map_err(Failure::Values)?, values, run),
        }
        .map_err(Failure::Model)
    }
}

/// Runs `numbers`, which are those of `values`, in tensors of so many rows as may be run at once.
fn tensors<T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static>(
    numbers: &[T],
    values: &Values,
    mut run: impl FnMut(SessionInputValue<'_>, Run) -> Result<(), String>,
) -> Result<(), String> {
    let fault = |error: ort::Error| told(&error);
    let Layout::Rows(width) = values.layout() else {
        let tensor = TensorRef::from_array_view(([numbers.len()], numbers)).map_err(fault)?;
        return run(tensor.into(), Run { first: 0, rows: None });
    };
    for (index, numbers) in numbers.chunks(width * MAX_RUN).enumerate() {
        let rows = numbers.len() / width;
        let tensor = TensorRef::from_array_view(([rows, width], numbers)).map_err(fault)?;
        run(tensor.into(), Run { first: index * MAX_RUN, rows: Some(rows) })?;
    }
    Ok(())
}

/// Which rows are run at once.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// How many were run before.
    first: usize,
    /// How many; of a plain list, nobody can tell how many things it speaks of.
    rows: Option<usize>,
}

impl Run {
    /// The states that the labels in `outputs` stand for.
    fn states(self, outputs: &SessionOutputs<'_>, states: &[String]) -> Result<Vec<String>, String> {
        let labels = outputs.values().next().ok_or("it gave nothing")?;
        let judged = to_states(&labels, self.first, states)?;
        match self.rows {
            Some(rows) if rows != judged.len() => Err(format!(
                "it gave {} for {}; one for each row is needed",
                counted(judged.len(), "label"),
                counted(rows, "row")
            )),
            _ => Ok(judged),
        }
    }
}

/// Whether labels of this type can stand for states.
fn check_labels(output: &ValueType) -> Result<(), String> {
    let known = [TensorElementType::Int64, TensorElementType::Bool, TensorElementType::String];
    match output {
        ValueType::Tensor { ty, .. } if known.contains(ty) => Ok(()),
        ValueType::Tensor { .. }
        | ValueType::Sequence(_)
        | ValueType::Map { .. }
        | ValueType::Optional(_) => Err(format!(
            "its first output is {output}; labels are needed: a tensor of int64, bool or string, one for each row"
        )),
    }
}

/// Whether the model has as many classes as its config has states.
fn check_classes(outputs: &SessionOutputs<'_>, states: &[String]) -> Result<(), String> {
    match classes(outputs) {
        Some(count) if count != states.len() => {
            let plural = if count == 1 { "" } else { "es" };
            let states = counted(states.len(), "state");
            Err(format!("it has {count} class{plural}, and its config has {states}"))
        }
        _ => Ok(()),
    }
}

/// How many classes the model has, where it shows it: by a probability or a score for each.
fn classes(outputs: &SessionOutputs<'_>) -> Option<usize> {
    let scores = outputs.values().nth(1)?;
    match scores.dtype() {
        // One column tells how odd a row is, and nothing of classes.
        ValueType::Tensor { ty: TensorElementType::Float32 | TensorElementType::Float64, shape, .. } => {
            let [_, columns] = shape[..] else { return None };
            usize::try_from(columns).ok().filter(|columns| *columns > 1)
        }
        ValueType::Sequence(item) => {
            let ValueType::Map { key, .. } = &**item else { return None };
            let rows = scores.try_extract_sequence::<DynMapValueType>().ok()?;
            let first = rows.first()?;
            if *key == TensorElementType::String {
                first.try_extract_key_values::<String, f32>().ok().map(|classes| classes.len())
            } else {
                first.try_extract_key_values::<i64, f32>().ok().map(|classes| classes.len())
            }
        }
        ValueType::Tensor { .. } | ValueType::Map { .. } | ValueType::Optional(_) => None,
    }
}

/// What the runtime says of an error, without what says that it is one.
fn told<R>(error: &ort::Error<R>) -> String {
    let text = error.message();
    let text = text.strip_prefix("Fatal error: ").unwrap_or(text);
    let text = text.strip_prefix("This is an invalid model. ").unwrap_or(text);
    format!("ONNX Runtime cannot run it: {}", text.trim().chars().take(500).collect::<String>())
}

//! One model as ONNX Runtime runs it: checked when it is loaded, asked for many rows at once.

use ort::ErrorCode;
use ort::session::{
    HasSelectedOutputs, OutputSelector, RunOptions, Session as Runner, SessionInputValue, SessionOutputs,
};
use ort::value::{DynMapValueType, TensorElementType, TensorRef, ValueType};

use super::ModelError;
use super::labels::to_states;
use super::runtime::Loaded;
use super::values::{Layout, Values, counted};

/// Where weights that a model keeps outside its own file are looked for: nowhere, for they could be any file.
const NO_FOLDER: &str = "/dev/null";

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

    /// Judges all rows in one call. Blocks.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub(super) fn predict(&mut self, values: &Values, states: &[String]) -> Result<Vec<String>, Failure> {
        self.input.check(values).map_err(Failure::Values)?;
        let input = self.input;
        let Self { runner, only_labels, .. } = self;
        let outputs = input.with(values, |tensor| runner.run_with_options([tensor], only_labels))?;
        judged(&outputs, values, states).map_err(Failure::Model)
    }

    /// Runs zeros through it, which finds operators that cannot run, and shows how many classes there are.
    fn try_it(&mut self, states: &[String]) -> Result<(), String> {
        let count = match self.input.layout {
            Layout::Rows(_) => TRIED,
            Layout::List => self.input.length.unwrap_or(1),
        };
        let zeros = Values::zeros(count, self.input.layout);
        let runner = &mut self.runner;
        let outputs = self.input.with(&zeros, |tensor| runner.run([tensor])).map_err(|failure| {
            let (Failure::Values(what) | Failure::Model(what)) = failure;
            format!("tried with zeros, {what}")
        })?;
        if let Some(classes) = classes(&outputs)
            && classes != states.len()
        {
            return Err(format!(
                "it has {}, and its config has {}",
                counted_classes(classes),
                counted(states.len(), "state")
            ));
        }
        judged(&outputs, &zeros, states).map(drop)
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

    /// Makes the tensor that the model takes, and runs it.
    fn with<'s>(
        self,
        values: &Values,
        run: impl FnOnce(SessionInputValue<'_>) -> ort::Result<SessionOutputs<'s>>,
    ) -> Result<SessionOutputs<'s>, Failure> {
        let shape = match values.layout() {
            Layout::List => vec![values.len()],
            Layout::Rows(width) => vec![values.len(), width],
        };
        let outputs = match self.numbers {
            Numbers::Single => {
                let numbers = values.singles().map_err(Failure::Values)?;
                TensorRef::from_array_view((shape, &numbers[..])).and_then(|tensor| run(tensor.into()))
            }
            Numbers::Double => {
                let numbers = values.doubles();
                TensorRef::from_array_view((shape, numbers)).and_then(|tensor| run(tensor.into()))
            }
            Numbers::Integer => {
                let numbers = values.integers().map_err(Failure::Values)?;
                TensorRef::from_array_view((shape, &numbers[..])).and_then(|tensor| run(tensor.into()))
            }
        };
        outputs.map_err(|error| Failure::Model(told(&error)))
    }
}

/// The states that the labels in `outputs` stand for.
fn judged(outputs: &SessionOutputs<'_>, values: &Values, states: &[String]) -> Result<Vec<String>, String> {
    let labels = outputs.values().next().ok_or("it gave nothing")?;
    let judged = to_states(&labels, states)?;
    // Of a plain list, nobody can tell how many things it speaks of.
    if matches!(values.layout(), Layout::Rows(_)) && judged.len() != values.len() {
        return Err(format!(
            "it gave {} for {}; one for each row is needed",
            counted(judged.len(), "label"),
            counted(values.len(), "row")
        ));
    }
    Ok(judged)
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

fn counted_classes(count: usize) -> String {
    if count == 1 { "1 class".to_owned() } else { format!("{count} classes") }
}

/// What the runtime says of an error, without what says that it is one.
fn told<R>(error: &ort::Error<R>) -> String {
    let text = error.message();
    let text = text.strip_prefix("Fatal error: ").unwrap_or(text);
    let text = text.strip_prefix("This is an invalid model. ").unwrap_or(text);
    format!("ONNX Runtime cannot run it: {}", text.trim().chars().take(500).collect::<String>())
}

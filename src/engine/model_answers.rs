//! Asking models what conditions want to know, before anything is decided. The pipeline finds what has to be asked, once it
//! is known that there is such an instance and that it is as its sender has seen it; but it waits for nobody.

use std::borrow::Cow;
use std::error::Error;

use serde_json::Value;

use super::handle::Engine;
use super::work_item::Submission;
use crate::machine::{self, Cause, Definition, ModelQuestion, Prediction};
use crate::model::ModelError;

impl Submission {
    /// What has to be asked before `definition` can decide on it.
    pub(super) fn missing_questions(&self, definition: &Definition) -> Vec<ModelQuestion> {
        let Self { cause, predictions, .. } = self;
        let asked = machine::questions(definition, cause);
        asked.filter(|question| !predictions.has(question)).cloned().collect()
    }
}

impl Engine {
    /// Asks models. A question without an answer is asked once: what it is for does not hold then, and history says why.
    pub(super) async fn ask_models(&self, submission: &mut Submission, questions: Vec<ModelQuestion>) {
        let Cause::Event { args, .. } = &submission.cause else { return };
        for question in questions {
            let ModelQuestion { model, argument } = &question;
            let Some(values) = args.get(argument) else { continue };
            let answer = self.models().predict(model, &rows(values)).await;
            let answer = answer.map(|rows| Prediction::of(values, rows)).map_err(|error| {
                log_model_error(model, &error);
                error.to_string()
            });
            submission.predictions.add(question, answer);
        }
    }
}

/// The rows of values: a plain list is the row of one thing.
fn rows(values: &Value) -> Cow<'_, Value> {
    if machine::is_single_row(values) {
        Cow::Owned(Value::Array(vec![values.clone()]))
    } else {
        Cow::Borrowed(values)
    }
}

fn log_model_error(model: &str, error: &ModelError) {
    let fault = error as &dyn Error;
    match error {
        ModelError::Unknown(_) | ModelError::Busy(_) | ModelError::Fault(_) => {
            tracing::warn!(
                error = fault,
                model,
                "a model gave no answer: conditions that ask it do not hold"
            );
        }
        // What is wrong with a model is logged where models are loaded; what is wrong with values is their sender's.
        ModelError::Config { .. }
        | ModelError::Folder(_)
        | ModelError::Runtime(_)
        | ModelError::File { .. }
        | ModelError::Stuck { .. }
        | ModelError::Values(_) => {
            tracing::debug!(error = fault, model, "a model gave no answer");
        }
    }
}

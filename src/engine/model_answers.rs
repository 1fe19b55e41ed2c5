//! Queries of hosted models for conditions, before the decision. The pipeline finds the questions once the instance is known
//! to exist and to match the expected tag, but does not wait for models.

use std::borrow::Cow;

use serde_json::Value;

use super::handle::Engine;
use super::work_item::Submission;
use crate::formatting::with_causes;
use crate::machine::{self, Cause, Definition, ModelQuestion, Prediction};
use crate::model::ModelError;

impl Submission {
    /// Lists the questions that must be asked before `definition` can decide.
    pub(super) fn missing_questions(&self, definition: &Definition) -> Vec<ModelQuestion> {
        let Self { cause, predictions, .. } = self;
        let asked = machine::questions(definition, cause);
        asked.filter(|question| !predictions.has(question)).cloned().collect()
    }
}

impl Engine {
    /// Queries models. A failed query is not retried: its condition does not hold, and history records the reason.
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

/// Returns the rows of values: a plain list is a single row.
fn rows(values: &Value) -> Cow<'_, Value> {
    if machine::is_single_row(values) {
        Cow::Owned(Value::Array(vec![values.clone()]))
    } else {
        Cow::Borrowed(values)
    }
}

fn log_model_error(model: &str, error: &ModelError) {
    let fault = with_causes(error);
    match error {
        ModelError::Unknown(_) | ModelError::Busy(_) | ModelError::Fault(_) => {
            tracing::warn!(error = %fault, model, "model query failed, conditions on it do not hold");
        }
        // Faults of models are logged where they are loaded; faults of values are the sender's.
        ModelError::Config { .. }
        | ModelError::Folder(_)
        | ModelError::Runtime(_)
        | ModelError::File { .. }
        | ModelError::Stuck { .. }
        | ModelError::Values(_) => {
            tracing::debug!(error = %fault, model, "model query failed");
        }
    }
}

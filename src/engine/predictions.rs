//! The answers of models to the questions of conditions.

use std::collections::BTreeMap;

use crate::machine::{ModelAnswers, ModelQuestion, Prediction};

/// The questions to models, each with its answer or the reason of its failure.
#[derive(Debug, Clone, Default)]
pub struct Predictions(BTreeMap<ModelQuestion, Result<Prediction, String>>);

impl Predictions {
    /// Returns the answers.
    pub(super) fn answers(&self) -> ModelAnswers {
        let mut answers = ModelAnswers::default();
        for (question, answer) in &self.0 {
            if let Ok(answer) = answer {
                answers.insert(question.clone(), answer.clone());
            }
        }
        answers
    }

    /// Whether `question` was asked.
    pub(super) fn has(&self, question: &ModelQuestion) -> bool {
        self.0.contains_key(question)
    }

    /// Adds an answer, or the reason of a failure.
    pub(super) fn add(&mut self, question: ModelQuestion, answer: Result<Prediction, String>) {
        self.0.insert(question, answer);
    }

    /// Describes the failures.
    pub(super) fn failures(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|(question, answer)| {
            answer.as_ref().err().map(|why| format!("{question} has no answer: {why}"))
        })
    }
}

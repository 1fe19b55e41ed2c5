//! What models answered that conditions ask.

use std::collections::BTreeMap;

use crate::machine::{ModelAnswers, ModelQuestion, Prediction};

/// What models were asked, and what each answered, or why it did not.
#[derive(Debug, Clone, Default)]
pub struct Predictions(BTreeMap<ModelQuestion, Result<Prediction, String>>);

impl Predictions {
    /// The answers.
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

    /// Adds what was answered, or why nothing was.
    pub(super) fn add(&mut self, question: ModelQuestion, answer: Result<Prediction, String>) {
        self.0.insert(question, answer);
    }

    /// Why some have no answer, in words.
    pub(super) fn failures(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|(question, answer)| {
            answer.as_ref().err().map(|why| format!("{question} has no answer: {why}"))
        })
    }
}

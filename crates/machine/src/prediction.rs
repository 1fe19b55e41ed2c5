//! Questions of guards to hosted models, and the answers.
//!
//! The kernel asks no model itself: the answers come with the stimulus, and history stores them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A guard's question to a model: `predict("health", args.values)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelQuestion {
    /// The model's name.
    pub model: String,
    /// The event argument with the values to judge.
    pub argument: String,
}

impl fmt::Display for ModelQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "predict({:?}, args.{})", self.model, self.argument)
    }
}

/// A model's answer: the predicted state of each row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prediction {
    /// The answer for a single row: `[1, 2]`.
    One(String),
    /// The answers for a list of rows in order, even if it has only one: `[[1, 2]]`.
    Each(Vec<String>),
}

impl Prediction {
    /// Builds the answer from the predicted states of the rows in `values`. The form of `values` decides the variant,
    /// not the number of rows, so that a guard for rows works for one row too.
    #[must_use]
    pub fn of(values: &Value, rows: Vec<String>) -> Self {
        match <[String; 1]>::try_from(rows) {
            Ok([one]) if is_single_row(values) => Self::One(one),
            Ok(one) => Self::Each(one.to_vec()),
            Err(rows) => Self::Each(rows),
        }
    }
}

/// Whether `values` is a flat list, which is a single row.
#[must_use]
pub fn is_single_row(values: &Value) -> bool {
    values.as_array().is_some_and(|list| !list.iter().any(Value::is_array))
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(state) => f.write_str(state),
            Self::Each(states) => f.write_str(&states.join(", ")),
        }
    }
}

/// The answers of models, by model and by argument.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelAnswers(BTreeMap<String, BTreeMap<String, Prediction>>);

impl ModelAnswers {
    /// Whether there are no answers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the answer to `question`, if there is one.
    #[must_use]
    pub fn find(&self, question: &ModelQuestion) -> Option<&Prediction> {
        self.0.get(&question.model)?.get(&question.argument)
    }

    /// Adds the answer to `question`.
    pub fn insert(&mut self, question: ModelQuestion, answer: Prediction) {
        self.0.entry(question.model).or_default().insert(question.argument, answer);
    }

    /// Returns each model with its answers.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Prediction)> {
        self.0
            .iter()
            .flat_map(|(model, answers)| answers.values().map(move |answer| (model.as_str(), answer)))
    }
}

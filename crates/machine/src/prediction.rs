//! What conditions ask hosted models, and what those answer.
//!
//! The kernel asks nobody: an answer comes with what happened, and history keeps it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a condition asks a model: `predict("health", args.values)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelQuestion {
    /// The model's name.
    pub model: String,
    /// The argument of the event whose values it judges.
    pub argument: String,
}

impl fmt::Display for ModelQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "predict({:?}, args.{})", self.model, self.argument)
    }
}

/// A model's answer: which state it says that each thing is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prediction {
    /// The values were those of one thing: `[1, 2]`.
    One(String),
    /// They were rows, of a thing each, also where there was only one: `[[1, 2]]`. In their order.
    Each(Vec<String>),
}

impl Prediction {
    /// What a model said of `values`, row by row: their form decides which it is, and not how many they are, so that a
    /// condition for rows holds for one as for several.
    #[must_use]
    pub fn of(values: &Value, rows: Vec<String>) -> Self {
        match <[String; 1]>::try_from(rows) {
            Ok([one]) if is_single_row(values) => Self::One(one),
            Ok(one) => Self::Each(one.to_vec()),
            Err(rows) => Self::Each(rows),
        }
    }
}

/// Whether `values` are a plain list, which is the row of one thing.
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

/// What models answered: by model, and by the argument whose values it judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelAnswers(BTreeMap<String, BTreeMap<String, Prediction>>);

impl ModelAnswers {
    /// Whether no model was asked, or none answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answer to `question`, if there is one.
    #[must_use]
    pub fn find(&self, question: &ModelQuestion) -> Option<&Prediction> {
        self.0.get(&question.model)?.get(&question.argument)
    }

    /// Adds the answer to `question`.
    pub fn insert(&mut self, question: ModelQuestion, answer: Prediction) {
        self.0.entry(question.model).or_default().insert(question.argument, answer);
    }

    /// Each model and what it answered.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Prediction)> {
        self.0
            .iter()
            .flat_map(|(model, answers)| answers.values().map(move |answer| (model.as_str(), answer)))
    }
}

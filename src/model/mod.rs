//! Hosted prediction models: which state a thing is in, judged by what was measured of it.

use serde_json::Value;

/// The models that this process hosts.
#[derive(Debug, Clone, Default)]
pub struct Models {}

/// Why a model could not be asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ModelError {
    /// There is no model of this name.
    #[error("there is no model {0:?}")]
    Unknown(String),
}

impl Models {
    /// Judges `values`: a row of numbers for each thing. Gives the state of each, in their order.
    ///
    /// # Errors
    ///
    /// [`ModelError`], with what is wrong with the model, or with the values.
    pub async fn predict(&self, model: &str, _values: &Value) -> Result<Vec<String>, ModelError> {
        std::future::ready(Err(ModelError::Unknown(model.to_owned()))).await
    }
}

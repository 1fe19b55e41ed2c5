//! Machine definitions.

use axum::Json;
use serde_json::{Value, json};

use super::Problem;
use super::body::DefinitionText;
use super::problem::fault;
use crate::action::ACTIONS;
use crate::machine::{self, Checked};

/// `POST /api/v1/machines/check`: says what is wrong with a definition, which is the body; nothing is kept.
pub(super) async fn check(DefinitionText(text): DefinitionText) -> Result<Json<Value>, Problem> {
    // A large one takes a while, and other requests are not to wait for it.
    let checked = tokio::task::spawn_blocking(move || machine::check(&text, ACTIONS));
    let Checked { definition, faults } = checked.await.map_err(|error| fault(&error))?;
    let machine = definition.as_ref().map(|definition| &definition.machine);
    Ok(Json(json!({ "ok": definition.is_some(), "machine": machine, "faults": faults })))
}

//! Moves an instance by force.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;

use super::lookup::changeable_machine;
use super::submit::submit;
use crate::api::client::RequestSender;
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::event_outcome::EventOutcome;
use crate::api::forced_move::{NewForcedMove, forced};
use crate::api::json_body::JsonBody;
use crate::api::not_accepted::not_accepted;
use crate::api::problem::Problem;
use crate::engine::Submission;
use crate::machine::Outcome;
use crate::store::instances::InstanceKey;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/{instance}/force", post(force))]
}

/// `POST /api/v1/machines/{machine}/{instance}/force`: moves an instance regardless of what its state
/// accepts, if it is in the state that the operator believes it to be in.
async fn force(
    State(api): State<Arc<ApiContext>>,
    Path((machine, name)): Path<(String, String)>,
    RequestSender(sender): RequestSender,
    headers: HeaderMap,
    JsonBody(new): JsonBody<NewForcedMove>,
) -> Result<Json<EventOutcome>, Problem> {
    let machine = changeable_machine(&api, &machine)?;
    let (cause, reason) = forced(new)?;
    let submission =
        Submission { sender, reason, ..Submission::new(InstanceKey::Name(machine.clone(), name), cause) };
    let committed = submit(&api, submission, &headers).await?;
    match &committed.outcome {
        Outcome::Ignored(reason) => {
            Err(not_accepted(&*api.engine.definition(&machine)?, &committed.instance, reason))
        }
        Outcome::Moved { .. } | Outcome::Stayed => Ok(Json(committed.into())),
    }
}

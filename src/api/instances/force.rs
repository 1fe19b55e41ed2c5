//! Moving an instance by force.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;

use super::lookup::changeable;
use super::submit::submit;
use crate::api::answer::Answer;
use crate::api::client::Sender;
use crate::api::context::{Api, Routes};
use crate::api::forced_move::{NewForce, forced};
use crate::api::json_body::Body;
use crate::api::not_accepted::not_accepted;
use crate::api::problem::Problem;
use crate::engine::Submission;
use crate::machine::Outcome;
use crate::store::instances::Target;

/// The routes of this file.
pub(in crate::api) fn routes() -> Routes {
    vec![("/api/v1/machines/{machine}/{instance}/force", post(force))]
}

/// `POST /api/v1/machines/{machine}/{instance}/force`: moves an instance whatever its state accepts, if it is where it is
/// believed to be.
async fn force(
    State(api): State<Arc<Api>>,
    Path((machine, name)): Path<(String, String)>,
    Sender(sender): Sender,
    headers: HeaderMap,
    Body(new): Body<NewForce>,
) -> Result<Json<Answer>, Problem> {
    let machine = changeable(&api, &machine)?;
    let (cause, remark) = forced(new)?;
    let submission =
        Submission { sender, remark, ..Submission::new(Target::Name(machine.clone(), name), cause) };
    let committed = submit(&api, submission, &headers).await?;
    match &committed.outcome {
        Outcome::Ignored(why) => {
            Err(not_accepted(&*api.engine.definition(&machine)?, &committed.instance, why))
        }
        Outcome::Moved { .. } | Outcome::Stayed => Ok(Json(committed.into())),
    }
}

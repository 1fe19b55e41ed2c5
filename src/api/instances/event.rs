//! Sends an event to an instance.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::put;
use serde::Deserialize;

use super::lookup::{changeable_machine, removable_machine};
use super::submit::{declared, sendable, submit};
use crate::api::client::RequestSender;
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::event_outcome::EventOutcome;
use crate::api::json_body::JsonObject;
use crate::api::not_accepted::not_accepted;
use crate::api::problem::Problem;
use crate::api::query_parameters::QueryParameters;
use crate::engine::Submission;
use crate::machine::{Cause, EventName, EventSource, IgnoreReason, Outcome, Visit, suggestion};
use crate::outlets::CANCEL_EVENT;
use crate::store::instances::InstanceKey;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/{instance}/events/{event}", put(send).post(send))]
}

/// The query of `send`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventQuery {
    /// The visit that the event is about.
    visit: Option<i64>,
}

/// `PUT` or `POST /api/v1/machines/{machine}/{instance}/events/{event}?visit=`: sends an event that the definition
/// declares, with its arguments as the body; with `If-Match` only if the tag of the instance matches.
///
/// An event that changes nothing is answered by 409, except a report of the instance itself, which may have
/// been repeated and is answered by 200.
async fn send(
    State(api): State<Arc<ApiContext>>,
    Path((machine, name, event)): Path<(String, String, String)>,
    QueryParameters(EventQuery { visit }): QueryParameters<EventQuery>,
    RequestSender(sender): RequestSender,
    headers: HeaderMap,
    JsonObject(args): JsonObject,
) -> Result<Json<EventOutcome>, Problem> {
    let machine = if event == CANCEL_EVENT {
        removable_machine(&api, &machine)?
    } else {
        changeable_machine(&api, &machine)?
    };
    let definition = api.engine.definition(&machine)?;
    let Some((event, source)) = declared(&definition, &event) else {
        let known: Vec<&EventName> = sendable(&definition).map(|(name, _)| name).collect();
        let suggestion = suggestion(&event, known.iter().map(|name| name.as_str()));
        let detail = format!("{machine} has no event {event:?} that can be sent{suggestion}");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_event", detail).with("events", known));
    };
    let is_report = matches!(source, EventSource::Face(_));
    let cause = Cause::Event { name: event, source, args, visit: visit.map(Visit) };
    let submission =
        Submission { sender, ..Submission::new(InstanceKey::Name(machine.clone(), name), cause) };
    let committed = submit(&api, submission, &headers).await?;
    let Outcome::Ignored(reason) = &committed.outcome else { return Ok(Json(committed.into())) };
    if matches!(reason, IgnoreReason::MissingArgument { .. } | IgnoreReason::Refused { .. }) {
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", reason.to_string()))
    } else if is_report {
        Ok(Json(committed.into()))
    } else {
        Err(not_accepted(&definition, &committed.instance, reason))
    }
}

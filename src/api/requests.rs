//! Requests of operators for a board, and forced moves.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::Value;

use super::client::RequestSender;
use super::context::{ApiContext, ApiRoutes};
use super::device_lookup::{device_target, find_board};
use super::event_outcome::EventOutcome;
use super::forced_move::{NewForcedMove, forced};
use super::json_body::{JsonBody, JsonObject};
use super::not_accepted::not_accepted;
use super::problem::Problem;
use super::query_parameters::QueryParameters;
use crate::boards::BOARD_SOURCE;
use crate::boards::store::images;
use crate::engine::{CommittedSubmission, Submission};
use crate::machine::{Cause, EventName, EventSource, IgnoreReason, Outcome, suggestion};

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![
        ("/api/v1/devices/{name}/requests/{request}", post(request)),
        ("/api/v1/devices/{name}/force", post(force)),
    ]
}

/// How much later each request of a bulk is queued than the one before it. A single request waits for at most
/// one request of the bulk per such span, and the bulk makes progress regardless of the number of single
/// requests.
const BULK_REQUEST_SPACING: TimeDelta = TimeDelta::minutes(1);

/// The query of `request`.
#[derive(Debug, Deserialize)]
struct OperatorRequestQuery {
    /// The position of the request in its bulk, from 0 on.
    position: Option<u16>,
}

/// `POST /api/v1/devices/{name}/requests/{request}?position=`: an operator requests something.
async fn request(
    State(api): State<Arc<ApiContext>>,
    Path((name, request)): Path<(String, String)>,
    RequestSender(sender): RequestSender,
    QueryParameters(OperatorRequestQuery { position }): QueryParameters<OperatorRequestQuery>,
    JsonObject(args): JsonObject,
) -> Result<Json<EventOutcome>, Problem> {
    let definition = api.engine.definition(&api.machine)?;
    let known = definition.events_from(&crate::machine::Sender::Operator);
    let Some(event) = known.iter().find(|name| name.as_str() == request) else {
        let is_board_event =
            definition.events_from(&BOARD_SOURCE.into()).iter().any(|name| name.as_str() == request);
        let detail = if is_board_event {
            format!(
                "{request} is a board's event, not an operator's request: boards send it to …/events/{request}"
            )
        } else {
            let suggestion = suggestion(&request, known.iter().map(|name| name.as_str()));
            format!("operators have no request {request:?}{suggestion}")
        };
        return Err(
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_request", detail).with("requests", known)
        );
    };
    if args.get("image").is_some_and(|image| !image.is_string()) {
        return Err(Problem::invalid("`image` must be the name of an image"));
    }
    if args.get("reason").and_then(Value::as_str).is_some_and(|reason| reason.trim().is_empty()) {
        return Err(Problem::invalid("`reason` must not be empty"));
    }
    if args.get("boot_config").is_some_and(|config| !config.is_object() && !config.is_null()) {
        return Err(Problem::invalid("`boot_config` must be a JSON object"));
    }
    let image = args.get("image").and_then(Value::as_str).map(str::to_owned);
    let cause = Cause::Event { name: (*event).clone(), source: EventSource::Operator, args, visit: None };
    let queue_at =
        position.map(|position| api.engine.clock().now() + BULK_REQUEST_SPACING * i32::from(position));
    let submission = Submission { sender, queue_at, ..Submission::new(device_target(&api, &name)?, cause) };
    let request = AskedEvent { event, image };
    answer(&api, &name, Some(request), api.engine.submit(submission).await?).await
}

/// `POST /api/v1/devices/{name}/force`: an operator moves a board regardless of what its state accepts, if it
/// is in the state that the operator believes it to be in.
async fn force(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    RequestSender(sender): RequestSender,
    JsonBody(new): JsonBody<NewForcedMove>,
) -> Result<Json<EventOutcome>, Problem> {
    let (cause, reason) = forced(new)?;
    let submission = Submission { sender, reason, ..Submission::new(device_target(&api, &name)?, cause) };
    answer(&api, &name, None, api.engine.submit(submission).await?).await
}

/// The requested event.
struct AskedEvent<'a> {
    event: &'a EventName,
    image: Option<String>,
}

/// Answers an operator; a request that changed nothing is an error.
async fn answer(
    api: &ApiContext,
    name: &str,
    request: Option<AskedEvent<'_>>,
    committed: CommittedSubmission,
) -> Result<Json<EventOutcome>, Problem> {
    let Outcome::Ignored(reason) = &committed.outcome else { return Ok(Json(committed.into())) };
    let definition = api.engine.definition(&api.machine)?;
    match reason {
        IgnoreReason::MissingArgument { .. }
        | IgnoreReason::Refused { .. }
        | IgnoreReason::NoGuardHolds { .. } => {
            let accepted = definition
                .accepted_events(committed.instance.state.as_str(), &crate::machine::Sender::Operator);
            let problem = refused(api, name, reason, request).await?;
            Err(problem.with("state", &committed.instance.state).with("accepted", accepted))
        }
        IgnoreReason::NoState { .. }
        | IgnoreReason::Unexpected { .. }
        | IgnoreReason::Stale { .. }
        | IgnoreReason::Future { .. }
        | IgnoreReason::NotDue
        | IgnoreReason::NotHandled { .. }
        | IgnoreReason::LeftToDeadline { .. }
        | IgnoreReason::NotAllowed { .. } => Err(not_accepted(&definition, &committed.instance, reason)),
    }
}

/// The problem of a request that the state accepts, but not with these arguments; it lists the images for the board.
async fn refused(
    api: &ApiContext,
    name: &str,
    reason: &IgnoreReason,
    request: Option<AskedEvent<'_>>,
) -> Result<Problem, Problem> {
    let hardware = find_board(api, name).await?.device.hardware;
    let all = images::list(&mut *api.engine.store().reader().await?).await?;
    let fitting: Vec<&str> = all
        .iter()
        .filter(|image| image.boot_configs.contains_key(&hardware))
        .map(|image| image.name.as_str())
        .collect();
    let is_unknown = |image: &String| !all.iter().any(|known| known.name == *image);
    let detail = match (reason, request) {
        (IgnoreReason::Refused { .. }, Some(AskedEvent { event, image: Some(image) }))
            if is_unknown(&image) =>
        {
            let suggestion = suggestion(&image, all.iter().map(|image| image.name.as_str()));
            format!("{event}: there is no image `{image}`{suggestion}")
        }
        (IgnoreReason::Refused { .. }, Some(AskedEvent { event, .. })) => format!("{event}: {reason}"),
        _ => reason.to_string(),
    };
    Ok(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", detail)
        .with("hardware", Value::from(hardware))
        .with("images", fitting))
}

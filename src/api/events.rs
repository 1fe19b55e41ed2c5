//! The contract for boards: events and boot configs, for an initramfs with wget or curl.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::client::RequestSender;
use super::context::{ApiContext, ApiRoutes};
use super::device_lookup::{device_target, find_board};
use super::event_outcome::EventOutcome;
use super::json_body::JsonObject;
use super::problem::Problem;
use super::query_parameters::QueryParameters;
use crate::boards::BOARD_SOURCE;
use crate::engine::Submission;
use crate::machine::{Cause, EventName, IgnoreReason, Outcome, Visit};

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![
        ("/api/v1/devices/{name}/boot-config", get(boot_config)),
        // Boards report by GET or POST. HEAD is refused, since it must change nothing.
        ("/api/v1/devices/{name}/events/{event}", get(report).post(report).head(only_get_or_post)),
    ]
}

async fn only_get_or_post() -> impl IntoResponse {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET,POST")])
}

/// `POST` or `GET /api/v1/devices/{name}/events/{event}?visit=N`: a board reports an event.
///
/// Arguments are a JSON object, or query parameters from tools that can only GET.
async fn report(
    State(api): State<Arc<ApiContext>>,
    Path((name, event)): Path<(String, String)>,
    QueryParameters(query): QueryParameters<BTreeMap<String, String>>,
    RequestSender(sender): RequestSender,
    request: Request,
) -> Result<Json<EventOutcome>, Problem> {
    let event = board_event(&api, &event)?;
    let target = device_target(&api, &name)?;
    // Before the body is read, so that a waiting report takes no memory.
    api.report_rates.wait(&name).await;
    let JsonObject(mut args) = JsonObject::from_request(request, &()).await?;
    let mut visit = None;
    for (key, text) in query {
        if text.contains('\0') || key.contains('\0') {
            return Err(Problem::invalid(
                "a query parameter holds the character U+0000, which cannot be stored",
            ));
        }
        if key == "visit" {
            let number = text
                .parse()
                .map_err(|_| Problem::invalid(format!("visit={text:?} is not the number of a visit")))?;
            visit = Some(Visit(number));
        } else {
            args.entry(key).or_insert(Value::String(text));
        }
    }
    let cause = Cause::Event { name: event, source: BOARD_SOURCE, args, visit };
    let submission = Submission { sender, ..Submission::new(target, cause) };
    let committed = api.engine.submit(submission).await?;
    if matches!(committed.outcome, Outcome::Ignored(_)) {
        api.report_rates.note_ignored(&name, committed.instance.visit);
    }
    if let Outcome::Ignored(reason @ (IgnoreReason::MissingArgument { .. } | IgnoreReason::Refused { .. })) =
        &committed.outcome
    {
        return Err(Problem::invalid(reason.to_string()));
    }
    Ok(Json(committed.into()))
}

/// `GET /api/v1/devices/{name}/boot-config`: the images and boot configs of a booting board.
async fn boot_config(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
) -> Result<Json<Map<String, Value>>, Problem> {
    let board = find_board(&api, &name).await?;
    let data = &board.instance.data;
    let mut config = Map::new();
    for key in ["image", "boot_config", "next_image", "next_boot_config"] {
        config.insert(key.to_owned(), data.get(key).cloned().unwrap_or(Value::Null));
    }
    config.insert("name".to_owned(), json!(board.instance.name));
    config.insert("state".to_owned(), json!(board.instance.state));
    config.insert("visit".to_owned(), json!(board.instance.visit));
    Ok(Json(config))
}

/// Finds an event that boards may send.
fn board_event(api: &ApiContext, event: &str) -> Result<EventName, Problem> {
    let definition = api.engine.definition(&api.machine)?;
    if let Some((name, declared)) = definition.events.get_key_value(event)
        && declared.from.contains(&BOARD_SOURCE.into())
    {
        return Ok(name.clone());
    }
    let known = definition.events_from(&BOARD_SOURCE.into());
    let hint = if definition
        .events_from(&crate::machine::Sender::Operator)
        .iter()
        .any(|name| name.as_str() == event)
    {
        format!("{event} is an operator's request, not a board's event: POST it to …/requests/{event}")
    } else {
        format!("boards have no event {event:?}")
    };
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_event", hint).with("events", known))
}

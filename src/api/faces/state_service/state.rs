//! `/state`: whether a machine is in a state, and reports that work in a state is done.

use std::sync::Arc;

use axum::extract::FromRequest;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::Map;

use super::answer::plain;
use super::query::StateServiceQuery;
use crate::api::client::{ClientKey, RequestSender};
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::etag::with_tag;
use crate::api::instances::lookup::{changeable_machine, find, machine_of};
use crate::api::instances::submit::{declared, submit};
use crate::api::json_body::JsonObject;
use crate::api::problem::Problem;
use crate::api::wait;
use crate::engine::Submission;
use crate::machine::{Cause, MachineName, Outcome, StateKind};
use crate::store::batches::VersionedInstance;
use crate::store::instances::InstanceKey;

const NO_MACHINE: &str = "this server was given no machine: start it with --machine FILE";
const NO_STATE: &str = "say which state is meant: ?state=NAME";

/// The routes of this file: those of the machine that the server was started with, and those of any instance.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![
        ("/state", get(is_current).options(is_current).put(is_done)),
        (
            "/api/v1/machines/{machine}/{instance}/state",
            get(is_current_of).options(is_current_of).put(is_done_of),
        ),
    ]
}

/// An instance: its machine and its name.
type SharedInstance = (MachineName, String);

/// `GET /state?state=X&wait=`: 200 and the name where X is the current state, 406 where it is not. With `wait`, the 200 is
/// sent as soon as X is entered, the 406 after that time.
async fn is_current(
    State(api): State<Arc<ApiContext>>,
    query: StateServiceQuery,
    client: ClientKey,
) -> Result<Response, Problem> {
    match (&api.shared_instance, query.get("state")) {
        (_, None) => Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "", NO_STATE)),
        (None, Some(_)) => Ok(plain(StatusCode::NOT_ACCEPTABLE, "", NO_MACHINE)),
        (Some(shared), Some(wanted)) => answer_current(&api, shared, wanted, &query, client).await,
    }
}

async fn is_current_of(
    State(api): State<Arc<ApiContext>>,
    Path((machine, name)): Path<(String, String)>,
    query: StateServiceQuery,
    client: ClientKey,
) -> Result<Response, Problem> {
    let shared = (machine_of(&api, &machine)?, name);
    match query.get("state") {
        None => Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "", NO_STATE)),
        Some(wanted) => answer_current(&api, &shared, wanted, &query, client).await,
    }
}

/// `PUT /state?state=X`: reports that work in the state X is done, which is counted: 200 and the name where X is the current
/// state and accepts it, 500 where nothing changes. `?event=NAME` sends any declared event, with its arguments as the body.
async fn is_done(
    State(api): State<Arc<ApiContext>>,
    query: StateServiceQuery,
    sender: RequestSender,
    request: Request,
) -> Result<Response, Problem> {
    match api.shared_instance.clone() {
        Some(shared) => answer_done(&api, shared, &query, sender, request).await,
        None if query.get("state").is_none() => Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "", NO_STATE)),
        None => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no_machine", NO_MACHINE)),
    }
}

async fn is_done_of(
    State(api): State<Arc<ApiContext>>,
    Path((machine, name)): Path<(String, String)>,
    query: StateServiceQuery,
    sender: RequestSender,
    request: Request,
) -> Result<Response, Problem> {
    let shared = (changeable_machine(&api, &machine)?, name);
    answer_done(&api, shared, &query, sender, request).await
}

async fn answer_current(
    api: &ApiContext,
    (machine, name): &SharedInstance,
    wanted: &str,
    query: &StateServiceQuery,
    client: ClientKey,
) -> Result<Response, Problem> {
    // Looked up each time: another definition may be activated while the client waits.
    let definition = || api.engine.definition(machine);
    let is_current = |versioned: &VersionedInstance| {
        definition().is_ok_and(|definition| definition.is_called(&versioned.instance.state, wanted))
    };
    let is_final = |versioned: &VersionedInstance| {
        definition().is_ok_and(|definition| {
            let state = definition.states.get(&versioned.instance.state);
            state.is_some_and(|state| state.kind == StateKind::Final)
        })
    };
    let versioned = match query.get("wait") {
        // A final state is never left.
        Some(text) => {
            let is_decided = |versioned: &VersionedInstance| is_current(versioned) || is_final(versioned);
            wait::until(api, client, wait::parse(text)?, (machine, name), is_decided).await?
        }
        None => find(api, machine, name).await?,
    };
    let response = if is_current(&versioned) {
        plain(StatusCode::OK, wanted, "")
    } else {
        let state = &versioned.instance.state;
        plain(StatusCode::NOT_ACCEPTABLE, "", &format!("the state is {}", definition()?.label(state)))
    };
    Ok(with_tag(&api.engine.tag(&versioned), response))
}

async fn answer_done(
    api: &ApiContext,
    (machine, name): SharedInstance,
    query: &StateServiceQuery,
    RequestSender(sender): RequestSender,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let definition = api.engine.definition(&machine)?;
    let refused = |reason: &str| Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "", reason));
    let (asked, event, args) = match (query.get("state"), query.get("event")) {
        // The event of a state has the state's name; the body is ignored.
        (Some(label), _) => match definition.find_by_label(label) {
            Some(state) => (label, state.as_str(), Map::new()),
            None => return refused(&format!("there is no state {label:?}")),
        },
        (None, Some(event)) => (event, event, JsonObject::from_request(request, &()).await?.0),
        (None, None) => return refused(NO_STATE),
    };
    let Some((event, source)) = declared(&definition, event) else {
        return refused(&format!("{asked} takes nothing that could be done"));
    };
    let cause = Cause::Event { name: event, source, args, visit: None };
    let submission = Submission { sender, ..Submission::new(InstanceKey::Name(machine, name), cause) };
    let committed = submit(api, submission, &headers).await?;
    match &committed.outcome {
        Outcome::Ignored(reason) => refused(&reason.to_string()),
        Outcome::Moved { .. } | Outcome::Stayed => Ok(plain(StatusCode::OK, asked, "")),
    }
}

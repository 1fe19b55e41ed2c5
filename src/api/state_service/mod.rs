//! StateService's `/state`: whether a machine is in a state, as a status code that `curl -f` understands; and what a
//! hosted model says ([`predict`]).
//!
//! Statuses and bodies are the original's (Source: StateService 2.0.3, as recorded); where they differ is told in
//! `docs/stateservice.md`.

mod predict;

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde_json::Map;
use url::form_urlencoded;

use super::body::{Sender, with_tag};
use super::instances::{declared, find, submit};
use super::{Api, Problem, wait};
use crate::machine::{Cause, Kind, MachineName, Outcome};
use crate::store::groups::Seen;

/// Says what is behind a status without a body.
const DETAIL: &str = "lifeguard-detail";

/// `/state`, of the machine that the server was given.
pub(super) fn routes() -> MethodRouter<Api> {
    get(is_current).options(is_current).put(is_done).post(predict::predict)
}

/// The same of any instance: a group of machines shares one.
pub(super) fn of_instance() -> MethodRouter<Api> {
    get(is_current_of).options(is_current_of).put(is_done_of)
}

/// An instance: its machine and its name.
type Shared = (MachineName, String);

fn shared(machine: &str, name: String) -> Result<Shared, Problem> {
    let machine = MachineName::new(machine);
    machine.map(|machine| (machine, name)).map_err(|error| Problem::invalid(error.to_string()))
}

/// `GET /state?state=X&wait=`: 200 and the name where X is the current state, 406 where it is not; with `wait` the 200
/// comes as soon as it is, the 406 after that time.
async fn is_current(State(api): State<Api>, query: Query) -> Result<Response, Problem> {
    let Some(shared) = api.shared.clone() else {
        return Ok(match query.get("state") {
            Some(_) => plain(StatusCode::NOT_ACCEPTABLE, "", NO_MACHINE),
            None => plain(StatusCode::INTERNAL_SERVER_ERROR, "", NO_STATE),
        });
    };
    look(&api, &shared, &query).await
}

async fn is_current_of(
    State(api): State<Api>,
    Path((machine, name)): Path<(String, String)>,
    query: Query,
) -> Result<Response, Problem> {
    look(&api, &shared(&machine, name)?, &query).await
}

/// `PUT /state?state=X`: 200 and the name where X is the current state and takes that something of it is done, which is
/// counted; 500 where nothing changes.
async fn is_done(
    State(api): State<Api>,
    query: Query,
    sender: Sender,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match api.shared.clone() {
        Some(shared) => count(&api, &shared, &query, sender, &headers).await,
        None if query.get("state").is_none() => Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "", NO_STATE)),
        None => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no_machine", NO_MACHINE)),
    }
}

async fn is_done_of(
    State(api): State<Api>,
    Path((machine, name)): Path<(String, String)>,
    query: Query,
    sender: Sender,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    count(&api, &shared(&machine, name)?, &query, sender, &headers).await
}

const NO_MACHINE: &str = "this server was given no machine: start it with --machine FILE";
const NO_STATE: &str = "say which state is meant: ?state=NAME";

/// The parameters of a query, as the original's framework reads them: the first of several counts, `+` is a space, what
/// is no percent escape stands for itself.
struct Query(Vec<(String, String)>);

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}

async fn look(api: &Api, (machine, name): &Shared, query: &Query) -> Result<Response, Problem> {
    let Some(wanted) = query.get("state") else {
        return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "", NO_STATE));
    };
    let definition = api.engine.definition(machine)?;
    let is_current = |seen: &Seen| definition.label(&seen.instance.state) == wanted;
    let is_over = |seen: &Seen| {
        definition.states.get(&seen.instance.state).is_some_and(|state| state.kind == Kind::Final)
    };
    let seen = match query.get("wait") {
        // What has ended never comes to another state.
        Some(text) => {
            let is_decided = |seen: &Seen| is_current(seen) || is_over(seen);
            wait::until(api, wait::parse(text)?, machine, name, is_decided).await?
        }
        None => find(api, machine, name).await?,
    };
    let response = if is_current(&seen) {
        plain(StatusCode::OK, wanted, "")
    } else {
        plain(
            StatusCode::NOT_ACCEPTABLE,
            "",
            &format!("the state is {}", definition.label(&seen.instance.state)),
        )
    };
    Ok(with_tag(&seen.tag(), response))
}

async fn count(
    api: &Api,
    (machine, name): &Shared,
    query: &Query,
    Sender(sender): Sender,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let definition = api.engine.definition(machine)?;
    let (said, event) = match (query.get("state"), query.get("event")) {
        // What belongs to a state is an event of the state's name.
        (Some(label), _) => (label, definition.find_labelled(label).map_or(label, |state| state.as_str())),
        (None, Some(event)) => (event, event),
        (None, None) => return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "", NO_STATE)),
    };
    let refused = |why: &str| plain(StatusCode::INTERNAL_SERVER_ERROR, "", why);
    let Some((event, source)) = declared(&definition, event) else {
        return Ok(refused(&format!("{said} is no state that takes that something of it is done")));
    };
    let cause = Cause::Event { name: event, source, args: Map::new(), visit: None };
    let committed = submit(api, machine, name, cause, sender, headers).await?;
    Ok(match &committed.outcome {
        Outcome::Ignored(why) => refused(&why.to_string()),
        Outcome::Moved { .. } | Outcome::Stayed => plain(StatusCode::OK, said, ""),
    })
}

/// Answers as the original does: its type is HTML, so nothing in it may do anything.
fn plain(status: StatusCode, body: &str, detail: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let mut response = (status, headers, body.to_owned()).into_response();
    if let Some(detail) = HeaderValue::from_str(detail).ok().filter(|detail| !detail.is_empty()) {
        response.headers_mut().insert(DETAIL, detail);
    }
    response
}

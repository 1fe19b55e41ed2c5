//! Instances of any machine: create, list, show, remove; what may be done to them is in [`events`].

pub(super) mod events;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::body::{Object, Parameters, Sender, expected_tags, json as json_answer, known_tags, not_modified};
use super::connections::Client;
use super::devices::check_name;
use super::history::Page;
use super::problem::fault;
use super::{Api, Problem, reserved, wait};
use crate::engine::{EngineError, Why};
use crate::machine::{CounterName, Explanation, MachineName, StateName, Visit, explain};
use crate::store::groups::Seen;
use crate::store::instances::{self, Listed};

/// An instance in full.
#[derive(Debug, Serialize)]
struct InstanceView {
    machine: MachineName,
    name: String,
    state: StateName,
    /// What others call the state.
    label: String,
    since: DateTime<Utc>,
    visit: Visit,
    deadline: Option<DateTime<Utc>>,
    counters: BTreeMap<CounterName, i64>,
    data: Map<String, Value>,
    #[serde(flatten)]
    explanation: Explanation,
}

/// What is done with one instance.
pub(super) fn routes() -> MethodRouter<Arc<Api>> {
    get(show).put(create).delete(remove)
}

/// Reads the instance of a path.
pub(in crate::api) async fn find(api: &Api, machine: &MachineName, name: &str) -> Result<Seen, Problem> {
    api.engine.find(machine, name).await?.ok_or_else(|| Problem::no_instance(machine, name))
}

/// The machine of a path, of which a definition is in force.
pub(in crate::api) fn machine_of(api: &Api, machine: &str) -> Result<MachineName, Problem> {
    let no_machine = |detail| Problem::new(StatusCode::NOT_FOUND, "no_machine", detail);
    let name = MachineName::new(machine).map_err(|error| no_machine(error.to_string()))?;
    match api.engine.definition(&name) {
        Ok(_) => Ok(name),
        Err(EngineError::NoMachine(_)) => {
            Err(no_machine(format!("there is no machine {name}; `PUT /api/v1/machines/{name}` defines one")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The machine of a path whose instances may be changed here: boards have a place of their own.
pub(in crate::api) fn changeable(api: &Api, machine: &str) -> Result<MachineName, Problem> {
    let name = machine_of(api, machine)?;
    if name == api.machine {
        let detail = "boards are at /api/v1/devices, where what is known of them is told too";
        return Err(Problem::new(StatusCode::CONFLICT, "is_board", detail));
    }
    Ok(name)
}

/// Which part of a list is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// Only names after this one.
    #[serde(default)]
    after: String,
    /// At most so many.
    limit: Option<i64>,
}

/// The most instances in one answer.
const MOST: i64 = 1000;

/// `GET /api/v1/machines/{machine}/instances?after=&limit=`: the instances by name, and the state that each is in.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Path(machine): Path<String>,
    Parameters(Part { after, limit }): Parameters<Part>,
) -> Result<Json<Value>, Problem> {
    let machine = machine_of(&api, &machine)?;
    let limit = limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::invalid(format!("limit={limit}: from 1 to {MOST} instances can be asked for")));
    }
    if after.contains('\0') {
        return Err(Problem::invalid(format!("after={after:?}: no instance has such a name")));
    }
    let mut db = api.engine.store().reader().await?;
    let listed = instances::list_page(&mut db, &machine, &after, limit).await?;
    let is_full = usize::try_from(limit).is_ok_and(|limit| listed.len() == limit);
    let next = listed.last().filter(|_| is_full).map(|last| last.name.clone());
    let view = |one: &Listed| {
        json!({
            "name": one.name, "state": one.state, "since": one.since, "visit": one.visit,
            "deadline": one.deadline_at,
        })
    };
    Ok(Json(json!({ "instances": listed.iter().map(view).collect::<Vec<_>>(), "next": next })))
}

/// How an instance is to be shown.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    /// How long to wait for it to be another than `If-None-Match` says.
    wait: Option<String>,
}

/// `GET /api/v1/machines/{machine}/{instance}?wait=`: an instance in full. With `If-None-Match` and `wait` the answer comes
/// when it has changed, or is 304 after that time.
async fn show(
    State(api): State<Arc<Api>>,
    Path((machine, name)): Path<(String, String)>,
    Parameters(How { wait }): Parameters<How>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let machine = machine_of(&api, &machine)?;
    let known: Vec<&str> = known_tags(&headers).collect();
    let is_news = |seen: &Seen| !known.iter().any(|tag| *tag == "*" || *tag == api.engine.tag(seen));
    let seen = match wait {
        Some(text) => wait::until(&api, client, wait::parse(&text)?, (&machine, &name), is_news).await?,
        None => find(&api, &machine, &name).await?,
    };
    if is_news(&seen) { view(&api, &seen) } else { Ok(not_modified(&api.engine.tag(&seen))) }
}

fn view(api: &Api, seen: &Seen) -> Result<Response, Problem> {
    let instance = &seen.instance;
    let definition = api.engine.definition(&instance.machine)?;
    let view = InstanceView {
        machine: instance.machine.clone(),
        name: instance.name.clone(),
        label: definition.label(&instance.state).to_owned(),
        state: instance.state.clone(),
        since: instance.since,
        visit: instance.visit,
        deadline: instance.deadline_at,
        counters: definition.counts(&instance.counters).into_owned(),
        data: instance.data.clone(),
        explanation: explain(&definition, instance),
    };
    Ok(json_answer(&api.engine.tag(seen), serde_json::to_vec(&view).map_err(|error| fault(&error))?))
}

/// `PUT /api/v1/machines/{machine}/{instance}`: creates an instance in the machine's initial state; one that is there
/// already is shown. With `If-None-Match: *` it must not be there.
async fn create(
    State(api): State<Arc<Api>>,
    Path((machine, name)): Path<(String, String)>,
    Sender(sender): Sender,
    headers: HeaderMap,
    Object(body): Object,
) -> Result<Response, Problem> {
    let machine = changeable(&api, &machine)?;
    check_name("name", &name)?;
    if reserved::instances().contains(name.as_str()) {
        let all = reserved::instances().iter().copied().collect::<Vec<_>>().join(", ");
        return Err(Problem::invalid(format!("name: {name:?} is reserved, as {all} are")));
    }
    if let Some(key) = body.keys().next() {
        let detail =
            format!("{key}: unknown; an instance begins with nothing but its machine's initial state");
        return Err(Problem::invalid(detail));
    }
    match api.engine.create(&machine, &name, None, sender).await {
        Ok(_) => {
            let location = format!("/api/v1/machines/{machine}/{name}");
            let shown = view(&api, &find(&api, &machine, &name).await?)?;
            Ok((StatusCode::CREATED, [(header::LOCATION, location)], shown).into_response())
        }
        Err(EngineError::Taken(_)) if known_tags(&headers).any(|tag| tag == "*") => {
            let detail = format!("{machine} {name} is there already");
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, "changed", detail))
        }
        Err(EngineError::Taken(_)) => view(&api, &find(&api, &machine, &name).await?),
        Err(error) => Err(error.into()),
    }
}

/// `DELETE /api/v1/machines/{machine}/{instance}`: forgets an instance; with `If-Match` only where it is still as that says.
async fn remove(
    State(api): State<Arc<Api>>,
    Path((machine, name)): Path<(String, String)>,
    Sender(sender): Sender,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let machine = changeable(&api, &machine)?;
    if api.shared.as_ref().is_some_and(|(shared, of)| *shared == machine && *of == name) {
        let detail = "it is what /state is about, for as long as this server shares it";
        return Err(Problem::new(StatusCode::CONFLICT, "is_shared", detail));
    }
    if name.contains('\0') {
        return Err(Problem::no_instance(&machine, &name));
    }
    match api.engine.remove(&machine, &name, expected_tags(&headers).as_deref(), sender).await {
        Err(EngineError::NoInstance(_)) => Err(Problem::no_instance(&machine, &name)),
        result => Ok(result.map(|()| StatusCode::NO_CONTENT)?),
    }
}

/// `GET /api/v1/machines/{machine}/{instance}/history?limit=&before=`: what happened, the newest first.
pub(super) async fn history(
    State(api): State<Arc<Api>>,
    Path((machine, name)): Path<(String, String)>,
    Parameters(page): Parameters<Page>,
) -> Result<Response, Problem> {
    let machine = machine_of(&api, &machine)?;
    let id = find(&api, &machine, &name).await?.id;
    super::history::read(api, machine, id, page).await
}

/// `GET /api/v1/machines/{machine}/{instance}/why`: why it is where it is, in parts and in sentences.
pub(super) async fn why(
    State(api): State<Arc<Api>>,
    Path((machine, name)): Path<(String, String)>,
) -> Result<Json<Why>, Problem> {
    let machine = machine_of(&api, &machine)?;
    match api.engine.why(&machine, &name).await {
        Err(EngineError::NoInstance(_)) => Err(Problem::no_instance(&machine, &name)),
        why => Ok(Json(why?)),
    }
}

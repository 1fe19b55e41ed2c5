//! Boards: register, show, change, remove.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check_name::check_name;
use super::client::RequestSender;
use super::context::{ApiContext, ApiRoutes};
use super::device_lookup::{device_target, find_board};
use super::etag::tagged;
use super::json_body::JsonBody;
use super::problem::Problem;
use crate::boards::{self, Board, Device, DeviceChange};
use crate::engine::WaitForecast;
use crate::explain::{Explanation, explain};
use crate::machine::{CounterName, Links, StateName, Visit, reword_library_error};
use crate::store::actions::{self, ActionSummary};

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![
        ("/api/v1/devices", post(register)),
        ("/api/v1/devices/{name}", get(show).patch(change).delete(remove)),
    ]
}

/// A board with what is known of it.
#[derive(Debug, Serialize)]
struct DeviceView {
    name: String,
    state: StateName,
    since: DateTime<Utc>,
    visit: Visit,
    deadline: Option<DateTime<Utc>>,
    image: Option<Value>,
    next_image: Option<Value>,
    #[serde(flatten)]
    facts: Map<String, Value>,
}

/// A board in full: why it stands where it stands, and what may happen next.
#[derive(Debug, Serialize)]
struct FullDeviceView {
    #[serde(flatten)]
    device: DeviceView,
    counters: BTreeMap<CounterName, i64>,
    data: Map<String, Value>,
    /// The instances that it is linked to.
    #[serde(skip_serializing_if = "Links::is_empty")]
    links: Links,
    #[serde(flatten)]
    explanation: Explanation,
    actions: Vec<ActionView>,
    /// How far its present boot got, in words.
    boot: Option<String>,
}

/// A board as it was written, and what is odd about it.
#[derive(Debug, Serialize)]
struct SavedDeviceView {
    #[serde(flatten)]
    device: FullDeviceView,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl SavedDeviceView {
    /// Shows the board `name`, whose hardware was written to be `hardware`, where it was.
    async fn of(api: &ApiContext, name: &str, hardware: Option<&str>) -> Result<Self, Problem> {
        let device = view(api, name).await?;
        let warning = match hardware {
            Some(hardware) => api.boards.warn_of_hardware(hardware).await?,
            None => None,
        };
        Ok(Self { device, warnings: warning.into_iter().collect() })
    }
}

#[derive(Debug, Serialize)]
struct ActionView {
    action: String,
    status: String,
    cancelled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    asked_at: DateTime<Utc>,
    began_at: Option<DateTime<Utc>>,
    /// How many boards hold what it needs or come before it.
    ahead: usize,
    /// When its turn may come.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_at: Option<DateTime<Utc>>,
    /// How often it was begun without being seen to end.
    attempts: i32,
    /// Since when it is suspended, because trouble that says nothing about the board stands in its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended_at: Option<DateTime<Utc>>,
    /// Why it is suspended; or, while it runs, why it does not do what people may expect of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl ActionView {
    fn new(action: ActionSummary, outlook: &WaitForecast) -> Self {
        let (resource, outlook) = (action.resource(), outlook.of(&action));
        Self {
            action: action.action,
            status: action.status,
            cancelled: action.is_cancelled,
            resource,
            asked_at: action.asked_at,
            began_at: action.began_at,
            ahead: outlook.ahead,
            expected_at: outlook.expected_at,
            attempts: action.attempts,
            suspended_at: action.suspended_at,
            reason: action.reason,
        }
    }
}

impl From<Board> for DeviceView {
    fn from(board: Board) -> Self {
        let Board { id: _, instance, device } = board;
        Self {
            image: instance.data.get("image").cloned(),
            next_image: instance.data.get("next_image").cloned(),
            name: instance.name,
            state: instance.state,
            since: instance.since,
            visit: instance.visit,
            deadline: instance.deadline_at,
            facts: device.to_fields(),
        }
    }
}

/// `GET /api/v1/devices/{name}`: one board in full.
async fn show(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(tagged(&headers, &view(&api, &name).await?))
}

/// How often a board is read anew that moved on while it was read.
const MAX_READS: usize = 3;

async fn view(api: &ApiContext, name: &str) -> Result<FullDeviceView, Problem> {
    let mut board = find_board(api, name).await?;
    let definition = api.engine.definition(&api.machine)?;
    let mut actions = actions::list_summaries(&mut *api.engine.store().reader().await?, board.id).await?;
    for _ in 0..MAX_READS {
        // What is not of one moment is read again.
        let later = find_board(api, name).await?;
        if later.instance == board.instance {
            break;
        }
        board = later;
        actions = actions::list_summaries(&mut *api.engine.store().reader().await?, board.id).await?;
    }
    let mut db = api.engine.store().reader().await?;
    let outlook = api.engine.wait_forecasts(&mut db, board.id, &actions).await?;
    drop(db);
    let boot = api.boards.boot(board.id).await?;
    Ok(FullDeviceView {
        counters: board.instance.counters.clone(),
        data: board.instance.data.clone(),
        links: board.instance.links.clone(),
        explanation: explain(&definition, &board.instance),
        actions: actions.into_iter().map(|action| ActionView::new(action, &outlook)).collect(),
        boot: boards::describe_boot(&boot, api.boards.boot_coverage()),
        device: board.into(),
    })
}

/// `POST /api/v1/devices`: registers a board, in the machine's initial state.
async fn register(
    State(api): State<Arc<ApiContext>>,
    RequestSender(sender): RequestSender,
    JsonBody(new): JsonBody<Map<String, Value>>,
) -> Result<Response, Problem> {
    let name = match new.get("name") {
        Some(name) => String::deserialize(name).map_err(|error| {
            Problem::invalid(format!("name: {}", reword_library_error(&error.to_string())))
        })?,
        None => return Err(Problem::invalid("missing field `name`")),
    };
    check_name("name", &name)?;
    let device = Device::read(&name, &new).map_err(Problem::invalid)?;
    api.boards.register(&name, &device, sender).await?;
    let location = format!("/api/v1/devices/{name}");
    let view = SavedDeviceView::of(&api, &name, Some(&device.hardware)).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
}

/// `PATCH /api/v1/devices/{name}`: changes what is known of a board, not its state.
async fn change(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    RequestSender(sender): RequestSender,
    JsonBody(new): JsonBody<Map<String, Value>>,
) -> Result<Response, Problem> {
    device_target(&api, &name)?;
    let change = DeviceChange::read(&new).map_err(Problem::invalid)?;
    let new_hardware = change.get("hardware").and_then(Value::as_str).map(str::to_owned);
    api.boards.change(&name, change, sender).await?;
    // No header of the request can make a 304 of what has been changed.
    Ok(tagged(&HeaderMap::new(), &SavedDeviceView::of(&api, &name, new_hardware.as_deref()).await?))
}

/// `DELETE /api/v1/devices/{name}`: forgets a board; what it still had to do is cancelled.
async fn remove(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    RequestSender(sender): RequestSender,
) -> Result<StatusCode, Problem> {
    device_target(&api, &name)?;
    api.boards.remove(&name, sender).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! Boards: register, show, change, remove.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check_name::check_name;
use super::client::RequestSender;
use super::context::{ApiContext, ApiRoutes};
use super::device_lookup::{device_target, find_board};
use super::etag::tagged;
use super::json_body::JsonBody;
use super::problem::Problem;
use crate::boards::{self, Board, BoardSummary, Device, DeviceChange, ObservedPower};
use crate::engine::{EngineError, OpenAction};
use crate::explain::Explanation;
use crate::machine::{CounterName, Definition, Links, reword_library_error};
use crate::store::actions;

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![
        ("/api/v1/devices", post(register)),
        ("/api/v1/devices/{name}", get(show).patch(change).delete(remove)),
    ]
}

/// A board as it was read.
struct FullDevice {
    board: Board,
    definition: Arc<Definition>,
    explanation: Explanation,
    actions: Vec<OpenAction>,
    /// How far its present boot got, in words.
    boot: Option<String>,
    /// What was last observed of its power.
    power: Option<ObservedPower>,
}

/// A board in full: its inventory, its state and what can happen next.
#[derive(Debug, Serialize)]
struct FullDeviceView<'a> {
    #[serde(flatten)]
    summary: BoardSummary<'a>,
    #[serde(flatten)]
    fields: Map<String, Value>,
    counters: &'a BTreeMap<CounterName, i64>,
    data: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Links::is_empty")]
    links: &'a Links,
    #[serde(flatten)]
    explanation: &'a Explanation,
    actions: &'a [OpenAction],
    boot: Option<&'a str>,
    observed_power: Option<&'a ObservedPower>,
}

/// A board after it was registered or changed.
#[derive(Debug, Serialize)]
struct SavedDeviceView<'a> {
    #[serde(flatten)]
    device: FullDeviceView<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl FullDevice {
    fn view(&self) -> FullDeviceView<'_> {
        let Self { board, definition, explanation, actions, boot, power } = self;
        FullDeviceView {
            summary: BoardSummary::of_board(board, Some(definition)),
            fields: board.device.to_fields(),
            counters: &board.instance.counters,
            data: &board.instance.data,
            links: &board.instance.links,
            explanation,
            actions,
            boot: boot.as_deref(),
            observed_power: power.as_ref(),
        }
    }

    /// The view after hardware and power URL of the board were set to these values, where they were.
    async fn saved_view(
        &self,
        api: &ApiContext,
        hardware: Option<&str>,
        power_url: Option<&str>,
    ) -> Result<SavedDeviceView<'_>, Problem> {
        let of_hardware = match hardware {
            Some(hardware) => api.boards.warn_of_hardware(hardware).await?,
            None => None,
        };
        let of_credential = power_url.and_then(|url| api.boards.warn_of_credential(url));
        let warnings = of_hardware.into_iter().chain(of_credential).collect();
        Ok(SavedDeviceView { device: self.view(), warnings })
    }
}

/// `GET /api/v1/devices/{name}`: one board in full.
async fn show(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(tagged(&headers, &read(&api, &name).await?.view()))
}

/// How often a board is read again that changed while it was read.
const MAX_READS: usize = 3;

async fn read(api: &ApiContext, name: &str) -> Result<FullDevice, Problem> {
    let mut board = find_board(api, name).await?;
    let mut actions = actions::list_summaries(&mut *api.engine.store().reader().await?, board.id).await?;
    for _ in 0..MAX_READS {
        // The board and its actions are read by two statements.
        let later = find_board(api, name).await?;
        if later.instance == board.instance {
            break;
        }
        board = later;
        actions = actions::list_summaries(&mut *api.engine.store().reader().await?, board.id).await?;
    }
    let mut db = api.engine.store().reader().await?;
    let forecast = api.engine.wait_forecasts(&mut db, board.id, &actions).await?;
    drop(db);
    let boot = api.boards.boot(board.id).await?;
    Ok(FullDevice {
        definition: api.engine.definition(&api.machine)?,
        explanation: api.engine.explain(board.id, &board.instance).await?,
        actions: actions.iter().map(|action| OpenAction::new(action, &forecast)).collect(),
        boot: boards::describe_boot(&boot, api.boards.boot_coverage()),
        power: api.boards.power(&board).await?,
        board,
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
    match api.boards.register(&name, &device, sender).await {
        Err(EngineError::Exists(_)) => {
            let detail = format!("there is a board `{name}` already");
            return Err(Problem::new(StatusCode::CONFLICT, "taken", detail));
        }
        registered => registered?,
    };
    let location = format!("/api/v1/devices/{name}");
    let saved = read(&api, &name).await?;
    let view = saved.saved_view(&api, Some(&device.hardware), device.power_url.as_deref()).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
}

/// `PATCH /api/v1/devices/{name}`: changes the inventory fields of a board, not its state.
async fn change(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    RequestSender(sender): RequestSender,
    JsonBody(new): JsonBody<Map<String, Value>>,
) -> Result<Response, Problem> {
    device_target(&api, &name)?;
    let change = DeviceChange::read(&new).map_err(Problem::invalid)?;
    let new_value = |field: &str| change.get(field).and_then(Value::as_str).map(str::to_owned);
    let (hardware, power_url) = (new_value("hardware"), new_value("power_url"));
    api.boards.change(&name, change, sender).await?;
    let saved = read(&api, &name).await?;
    // Without the request's headers: a change is never answered by 304.
    let view = saved.saved_view(&api, hardware.as_deref(), power_url.as_deref()).await?;
    Ok(tagged(&HeaderMap::new(), &view))
}

/// `DELETE /api/v1/devices/{name}`: removes a board and cancels its actions.
async fn remove(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    RequestSender(sender): RequestSender,
) -> Result<StatusCode, Problem> {
    device_target(&api, &name)?;
    api.boards.remove(&name, sender).await?;
    Ok(StatusCode::NO_CONTENT)
}

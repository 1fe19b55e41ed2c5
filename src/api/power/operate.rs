//! Operations at an outlet by hand.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{self, PendingAnswer};
use super::drivers::CapabilitiesView;
use crate::actions::PowerUrl;
use crate::api::client::{ClientKey, RequestSender};
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::device_lookup::find_board;
use crate::api::json_body::JsonBody;
use crate::api::problem::Problem;
use crate::boards::{Board, ManualSwitch};
use crate::engine::{EngineError, IncidentFilter, IncidentView};
use crate::outlets::{OutletOperation, OutletRequest};

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/power", post(operate))]
}

/// The body of a request: an operation at the outlet of a board, or of a power URL.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPowerOperation {
    operation: OutletOperation,
    board: Option<String>,
    url: Option<String>,
    /// Whether a board that Lifeguard looks after is switched too.
    #[serde(default)]
    force: bool,
    /// How long to wait for the end.
    timeout_s: Option<u32>,
}

/// `POST /api/v1/power`: reads or switches an outlet by hand, and answers when that has ended.
async fn operate(
    State(api): State<Arc<ApiContext>>,
    RequestSender(sender): RequestSender,
    client: ClientKey,
    JsonBody(new): JsonBody<NewPowerOperation>,
) -> Result<Response, Problem> {
    let NewPowerOperation { operation, board, url, force, timeout_s } = new;
    let timeout = answer::timeout(timeout_s)?;
    let text = power_url(&api, board, url).await?;
    let url = PowerUrl::read_new(&text).map_err(|error| Problem::invalid(error.to_string()))?;
    let outlet = url.outlet();
    if !(force && operation.switches())
        && let Some(refusal) = api.boards.refuse_other_scheme(url.device()).await?
    {
        return Err(EngineError::from(refusal).into());
    }
    if operation.switches() {
        refuse_during_incident(&api, url.device()).await?;
    }
    let boards = api.boards.boards_at(&outlet).await?;
    // A board's own URL knows how its outlet is wired: with another one, "on" might switch it off.
    let own = boards.iter().find_map(|board| board.device.power_url.clone());
    let (url, text) = match own {
        Some(own) => (PowerUrl::read_new(&own).map_err(|error| Problem::invalid(error.to_string()))?, own),
        None => (url, text),
    };
    let is_forced = operation.switches() && check_boards(&api, &boards, force).await?;
    let names: Vec<&str> = boards.iter().map(|board| board.instance.name.as_str()).collect();
    let mut asked = Map::from_iter([
        ("operation".to_owned(), json!(operation)),
        ("outlet".to_owned(), json!(outlet)),
        ("resource".to_owned(), json!(url.resource())),
        ("boards".to_owned(), json!(names)),
    ]);
    let mut more = Map::new();
    if !names.is_empty() {
        more.insert("boards".to_owned(), json!(names));
    }
    if is_forced {
        more.insert("force".to_owned(), Value::Bool(true));
        asked.insert("forced".to_owned(), Value::Bool(true));
    }
    if operation == OutletOperation::Test {
        asked.insert("capabilities".to_owned(), json!(CapabilitiesView::of(&url)));
    }
    let request = OutletRequest::Operate(operation, url, text);
    let started = api.outlets.begin(&request, more, sender.clone()).await?;
    if operation.switches() {
        let switched = ManualSwitch {
            operation: operation.name(),
            outlet: &outlet,
            instance: &started.instance,
            forced: is_forced,
        };
        for board in &boards {
            match api.boards.note_manual_power(board, switched, sender.clone()).await {
                // The board was removed meanwhile.
                Ok(()) | Err(EngineError::NoInstance(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    PendingAnswer { started, asked, boards }.wait(&api, (client, sender), timeout, |_| ()).await
}

/// The power URL of the request.
async fn power_url(api: &ApiContext, board: Option<String>, url: Option<String>) -> Result<String, Problem> {
    match (board, url) {
        (None, Some(url)) => Ok(url),
        (Some(name), None) => {
            let url = find_board(api, &name).await?.device.power_url;
            url.ok_or_else(|| {
                let detail = format!(
                    "{name} has no power URL; give it one by `lifeguard device set {name} --power-url URL`"
                );
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_power_url", detail)
            })
        }
        _ => Err(Problem::invalid("either `board` or `url` must be given")),
    }
}

/// Refuses to switch while there is an incident at the device: it would be done when the device answers again, when nobody
/// expects it. Reading does not wait for incidents.
async fn refuse_during_incident(api: &ApiContext, device: &str) -> Result<(), Problem> {
    let devices = [device.to_owned()];
    let open = api.engine.incidents(IncidentFilter::OpenAt(&devices)).await?;
    let Some(incident) = open.into_iter().find(|incident| !incident.is_silent) else { return Ok(()) };
    let IncidentView { name, resource, reason, .. } = incident;
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let detail = format!(
        "{resource} does not answer{reason}, so nothing is switched there: try `lifeguard power test`, which also ends the incident \
         when the device answers, or end it yourself by `lifeguard incident close {name}`"
    );
    Err(Problem::new(StatusCode::CONFLICT, "incident_open", detail).with("incident", name))
}

/// Refuses to switch the power of boards that Lifeguard looks after, unless it is forced. Returns whether it had to be.
async fn check_boards(api: &ApiContext, boards: &[Board], force: bool) -> Result<bool, Problem> {
    let mut is_forced = false;
    for board in boards {
        if let Some(refusal) = api.boards.refuse_manual_power(board).await? {
            if !force {
                return Err(EngineError::from(refusal).into());
            }
            is_forced = true;
        }
    }
    Ok(is_forced)
}

//! Boards: register, show, change, remove.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::check_name::check_name;
use super::client::Sender;
use super::context::{Api, Routes};
use super::device_lookup::{find, target};
use super::etag::tagged;
use super::json_body::Body;
use super::problem::Problem;
use crate::actions::{Mac, PollUrl, PowerUrl};
use crate::boards::{self, Board, Device, DeviceChange};
use crate::machine::{CounterName, Explanation, StateName, Visit, explain};
use crate::store::actions::{self, OpenAction};

/// The routes of this file.
pub(super) fn routes() -> Routes {
    vec![
        ("/api/v1/devices", post(register)),
        ("/api/v1/devices/{name}", get(show).patch(change).delete(remove)),
    ]
}

/// A board as clients register it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDevice {
    name: String,
    mac: String,
    hardware: String,
    fqdn: Option<String>,
    power_url: Option<String>,
    poll_url: Option<String>,
    #[serde(default)]
    environment: String,
    #[serde(default)]
    comments: String,
}

/// A change as clients send it (Source: RFC 7396: what is left out stays, null removes).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "to say null is another thing than to say nothing")]
struct NewChange {
    #[serde(default, deserialize_with = "never_null")]
    mac: Option<String>,
    #[serde(default, deserialize_with = "never_null")]
    hardware: Option<String>,
    #[serde(default, deserialize_with = "never_null")]
    fqdn: Option<String>,
    #[serde(default, deserialize_with = "given")]
    power_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    poll_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "emptied")]
    environment: Option<String>,
    #[serde(default, deserialize_with = "emptied")]
    comments: Option<String>,
}

/// Takes what a board always has.
fn never_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some)
}

/// Takes null for an empty text.
fn emptied<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default).map(Some)
}

/// Tells null from nothing.
#[expect(clippy::option_option, reason = "to say null is another thing than to say nothing")]
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// A board as lists show it.
#[derive(Debug, Serialize)]
struct DeviceView {
    name: String,
    state: StateName,
    since: DateTime<Utc>,
    visit: Visit,
    deadline: Option<DateTime<Utc>>,
    fqdn: String,
    mac: String,
    hardware: String,
    environment: String,
    image: Option<Value>,
    next_image: Option<Value>,
    comments: String,
}

/// A board in full: why it stands where it stands, and what may happen next.
#[derive(Debug, Serialize)]
struct FullDeviceView {
    #[serde(flatten)]
    device: DeviceView,
    power_url: Option<String>,
    poll_url: Option<String>,
    counters: BTreeMap<CounterName, i64>,
    data: Map<String, Value>,
    #[serde(flatten)]
    explanation: Explanation,
    actions: Vec<ActionView>,
    /// How far its present boot got, in words.
    boot: Option<String>,
}

/// A board as it was written, and what is odd about it.
#[derive(Debug, Serialize)]
struct WrittenView {
    #[serde(flatten)]
    device: FullDeviceView,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl WrittenView {
    /// Shows the board `name`, whose hardware was written to be `hardware`, where it was.
    async fn of(api: &Api, name: &str, hardware: Option<&str>) -> Result<Self, Problem> {
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
    place: Option<String>,
    asked_at: DateTime<Utc>,
    began_at: Option<DateTime<Utc>>,
    /// How many boards are before it at its place.
    ahead: i64,
    /// How often it was begun without being seen to end.
    attempts: i32,
    /// Since when it is suspended, because trouble that says nothing about the board stands in its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended_at: Option<DateTime<Utc>>,
    /// Why it is suspended; or, while it runs, why it does not do what people may expect of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<OpenAction> for ActionView {
    fn from(action: OpenAction) -> Self {
        Self {
            action: action.action,
            status: action.status,
            cancelled: action.cancelled,
            place: action.place,
            asked_at: action.asked_at,
            began_at: action.began_at,
            ahead: action.ahead,
            attempts: action.attempts,
            suspended_at: action.suspended_at,
            reason: action.reason,
        }
    }
}

impl From<Board> for DeviceView {
    fn from(board: Board) -> Self {
        let Board { id: _, instance, device } = board;
        let Device { fqdn, mac, power_url: _, poll_url: _, hardware, environment, comments } = device;
        Self {
            image: instance.data.get("image").cloned(),
            next_image: instance.data.get("next_image").cloned(),
            name: instance.name,
            state: instance.state,
            since: instance.since,
            visit: instance.visit,
            deadline: instance.deadline_at,
            fqdn,
            mac,
            hardware,
            environment,
            comments,
        }
    }
}

/// `GET /api/v1/devices/{name}`: one board in full.
async fn show(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(tagged(&headers, &view(&api, &name).await?))
}

async fn view(api: &Api, name: &str) -> Result<FullDeviceView, Problem> {
    let board = find(api, name).await?;
    let definition = api.engine.definition(&api.machine)?;
    let mut db = api.engine.store().reader().await?;
    let actions = actions::list_open(&mut db, board.id).await?;
    drop(db);
    let boot = api.boards.boot(board.id).await?;
    Ok(FullDeviceView {
        power_url: board.device.power_url.clone(),
        poll_url: board.device.poll_url.clone(),
        counters: board.instance.counters.clone(),
        data: board.instance.data.clone(),
        explanation: explain(&definition, &board.instance),
        actions: actions.into_iter().map(ActionView::from).collect(),
        boot: boards::describe_boot(&boot, api.boards.boot_coverage()),
        device: board.into(),
    })
}

/// `POST /api/v1/devices`: registers a board, in the machine's initial state.
async fn register(
    State(api): State<Arc<Api>>,
    Sender(sender): Sender,
    Body(new): Body<NewDevice>,
) -> Result<Response, Problem> {
    let NewDevice { name, mac, hardware, fqdn, power_url, poll_url, environment, comments } = new;
    check_name("name", &name)?;
    let fqdn = fqdn.unwrap_or_else(|| name.clone());
    let device = Device {
        fqdn: checked_fqdn(&fqdn)?,
        mac: checked_mac(&mac)?,
        power_url: power_url.map(|url| checked_power(&url)).transpose()?,
        poll_url: poll_url.map(|url| checked_poll(&url)).transpose()?,
        hardware: check_name("hardware", &hardware)?,
        environment: if environment.is_empty() {
            environment
        } else {
            check_name("environment", &environment)?
        },
        comments,
    };
    api.boards.register(&name, &device, sender).await?;
    let location = format!("/api/v1/devices/{name}");
    let view = WrittenView::of(&api, &name, Some(&device.hardware)).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
}

/// `PATCH /api/v1/devices/{name}`: changes what is known of a board, not its state.
async fn change(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Sender(sender): Sender,
    Body(new): Body<NewChange>,
) -> Result<Response, Problem> {
    target(&api, &name)?;
    let new_hardware = new.hardware.clone();
    let NewChange { mac, hardware, fqdn, power_url, poll_url, environment, comments } = new;
    let change = DeviceChange {
        fqdn: fqdn.map(|fqdn| checked_fqdn(&fqdn)).transpose()?,
        mac: mac.map(|mac| checked_mac(&mac)).transpose()?,
        power_url: power_url.map(|url| url.map(|url| checked_power(&url)).transpose()).transpose()?,
        poll_url: poll_url.map(|url| url.map(|url| checked_poll(&url)).transpose()).transpose()?,
        hardware: hardware.map(|hardware| check_name("hardware", &hardware)).transpose()?,
        environment: environment
            .map(|place| if place.is_empty() { Ok(place) } else { check_name("environment", &place) })
            .transpose()?,
        comments,
    };
    api.boards.change(&name, change, sender).await?;
    // No header of the request can make a 304 of what has been changed.
    Ok(tagged(&HeaderMap::new(), &WrittenView::of(&api, &name, new_hardware.as_deref()).await?))
}

/// `DELETE /api/v1/devices/{name}`: forgets a board; what it still had to do is cancelled.
async fn remove(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Sender(sender): Sender,
) -> Result<StatusCode, Problem> {
    target(&api, &name)?;
    api.boards.remove(&name, sender).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn checked_fqdn(text: &str) -> Result<String, Problem> {
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    if is_address || (text.len() <= 253 && text.split('.').all(|label| check_name("fqdn", label).is_ok())) {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(80).collect();
    Err(Problem::invalid(format!("fqdn: {shown:?} is neither a host name nor an address")))
}

fn checked_mac(text: &str) -> Result<String, Problem> {
    text.parse::<Mac>().map(|mac| mac.to_string()).map_err(|error| Problem::invalid(format!("mac: {error}")))
}

fn checked_power(text: &str) -> Result<String, Problem> {
    let url = PowerUrl::read_new(text);
    url.map(|_| text.to_owned()).map_err(|error| Problem::invalid(format!("power_url: {error}")))
}

fn checked_poll(text: &str) -> Result<String, Problem> {
    let url = text.parse::<PollUrl>();
    url.map(|_| text.to_owned()).map_err(|error| Problem::invalid(format!("poll_url: {error}")))
}

//! The outlets: a coil that the server switches, a channel of a relay board that times cycles, and a plug with HTTP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{RawQuery, State};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use lifeguard::clock::{Clock, SystemClock};
use lifeguard::farm::relay::{RelayBehaviour, RelayBoard};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A kind of outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OutletKind {
    Modbus,
    Waveshare,
    Tasmota,
}

impl OutletKind {
    pub(super) const ALL: [Self; 3] = [Self::Modbus, Self::Waveshare, Self::Tasmota];
}

/// When the power went on or off.
type PowerChange = (DateTime<Utc>, bool);

enum TestDevice {
    Relay(RelayBoard),
    Plug(SmartPlug),
}

/// An outlet of a device of its own, and what was seen there in the present run.
pub(super) struct TestOutlet {
    kind: OutletKind,
    off: &'static str,
    device: TestDevice,
    run_began_at: Mutex<DateTime<Utc>>,
}

impl TestOutlet {
    /// Starts a device, with its power on; power cycles take `off`.
    pub(super) async fn start(kind: OutletKind, off: &'static str) -> Self {
        let relay = |behaviour| {
            let relay = RelayBoard::start(([127, 0, 0, 1], 0).into(), 8, behaviour).unwrap();
            relay.switch(0, true);
            TestDevice::Relay(relay)
        };
        let device = match kind {
            OutletKind::Modbus => relay(RelayBehaviour::OneClientAtATime),
            OutletKind::Waveshare => relay(RelayBehaviour::TimesCycles),
            OutletKind::Tasmota => TestDevice::Plug(SmartPlug::start().await),
        };
        Self { kind, off, device, run_began_at: Mutex::new(SystemClock.now()) }
    }

    pub(super) fn kind(&self) -> OutletKind {
        self.kind
    }

    pub(super) fn url(&self) -> String {
        let off = self.off;
        match (&self.device, self.kind) {
            (TestDevice::Relay(relay), OutletKind::Waveshare) => {
                format!("waveshare://{}/0?off={off}", relay.addr())
            }
            (TestDevice::Relay(relay), _) => format!("modbus://{}/0?off={off}", relay.addr()),
            (TestDevice::Plug(plug), _) => format!("tasmota://{}/1?off={off}", plug.addr),
        }
    }

    pub(super) fn off_time(&self) -> TimeDelta {
        TimeDelta::from_std(humantime::parse_duration(self.off).unwrap()).unwrap()
    }

    /// Begins a run: what was seen before does not count.
    pub(super) fn forget(&self) {
        *self.run_began_at.lock().unwrap() = SystemClock.now();
    }

    fn all_changes(&self) -> Vec<PowerChange> {
        match &self.device {
            TestDevice::Relay(relay) => {
                relay.coil_changes().iter().map(|change| (change.at, change.is_on)).collect()
            }
            TestDevice::Plug(plug) => plug.changes.lock().unwrap().clone(),
        }
    }

    /// Changes of the power in this run.
    pub(super) fn changes(&self) -> Vec<PowerChange> {
        let from = *self.run_began_at.lock().unwrap();
        self.all_changes().into_iter().filter(|(at, _)| *at >= from).collect()
    }

    pub(super) fn is_on(&self) -> bool {
        self.all_changes().last().is_none_or(|(_, is_on)| *is_on)
    }

    /// When the power last changed.
    pub(super) fn last_change(&self) -> DateTime<Utc> {
        self.all_changes().last().map_or(DateTime::<Utc>::MIN_UTC, |(at, _)| *at)
    }

    /// How often the power was taken in this run.
    pub(super) fn power_offs(&self) -> usize {
        self.changes().iter().filter(|(_, is_on)| !is_on).count()
    }

    /// The times without power in this run.
    pub(super) fn dark_spans(&self) -> Vec<TimeDelta> {
        let changes = self.changes();
        let pairs = changes.windows(2).filter(|pair| !pair[0].1 && pair[1].1);
        pairs.map(|pair| pair[1].0 - pair[0].0).collect()
    }
}

/// A plug with Tasmota's firmware, as far as the driver uses it.
struct SmartPlug {
    addr: SocketAddr,
    changes: Arc<Mutex<Vec<PowerChange>>>,
    _server: JoinSet<()>,
}

impl SmartPlug {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let changes = Arc::new(Mutex::new(vec![(SystemClock.now(), true)]));
        let router = Router::new().route("/cm", get(answer)).with_state(Arc::clone(&changes));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, changes, _server: server }
    }
}

async fn answer(
    State(changes): State<Arc<Mutex<Vec<PowerChange>>>>,
    RawQuery(query): RawQuery,
) -> Json<Value> {
    let order = match query.as_deref() {
        Some("cmnd=Power1%20ON") => Some(true),
        Some("cmnd=Power1%20OFF") => Some(false),
        Some("cmnd=Power1") => None,
        _ => return Json(json!({ "Command": "Error" })),
    };
    let mut changes = changes.lock().unwrap();
    let is_on = changes.last().is_some_and(|(_, is_on)| *is_on);
    if let Some(order) = order.filter(|order| *order != is_on) {
        changes.push((SystemClock.now(), order));
    }
    let is_on = order.unwrap_or(is_on);
    Json(json!({ "POWER1": if is_on { "ON" } else { "OFF" } }))
}

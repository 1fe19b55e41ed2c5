//! An SNMP agent of our own (versions 1 and 2c) behind a UDP port, with the quirks of real ones. The library of the
//! driver is not used on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use power::PowerState;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use crate::conformance::{DeviceBehaviour, TestDevice};
use crate::snmp_message::{GET, GET_NEXT, Request};

/// What an agent of another protocol says.
const FOREIGN: &[u8] = b"SSH-2.0-OpenSSH_9.2\r\n";

// Error statuses. Source: RFC 3416 section 3.
const NO_SUCH_NAME: u8 = 2;
pub(crate) const GEN_ERR: u8 = 5;
const NO_CREATION: u8 = 11;

/// An outlet as the agent implements it: what is set, what is read, and the values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AgentOutlet {
    /// The power URL after the address: `3?device=apc`.
    pub(crate) url: &'static str,
    pub(crate) on: (&'static str, i32),
    pub(crate) off: (&'static str, i32),
    pub(crate) state: &'static str,
    pub(crate) readings: (i32, i32),
}

pub(crate) const APC: AgentOutlet = AgentOutlet {
    url: "3?device=apc",
    on: ("1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.3", 1),
    off: ("1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.3", 2),
    state: "1.3.6.1.4.1.318.1.1.12.3.5.1.1.4.3",
    readings: (1, 2),
};

/// Quirks that a driver has to cope with.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentQuirks {
    /// It follows this many orders and does not answer them.
    pub(crate) lost_confirmations: usize,
    /// It answers this many requests under another request ID first.
    pub(crate) wrong_ids: usize,
    /// It answers this many requests by half a message.
    pub(crate) half_answers: usize,
    /// It answers orders with this error status, and follows them nevertheless.
    pub(crate) refuses_with: Option<u8>,
    /// It shows an order only after this time.
    pub(crate) follows_after: Duration,
    /// Other objects that it has.
    pub(crate) others: BTreeMap<String, i32>,
}

pub(crate) struct AgentState {
    outlet: AgentOutlet,
    behaviour: DeviceBehaviour,
    pub(crate) quirks: AgentQuirks,
    is_on: bool,
    /// The state before the last order, shown until then.
    shown: (bool, Instant),
    pub(crate) orders: Vec<(String, i32)>,
    /// Versions and communities of requests.
    pub(crate) logins: BTreeSet<(i32, String)>,
    clients: BTreeSet<SocketAddr>,
}

impl AgentState {
    fn value(&self, oid: &str) -> Option<i32> {
        if oid == self.outlet.state {
            let is_on = if Instant::now() < self.shown.1 { self.shown.0 } else { self.is_on };
            return Some(if is_on { self.outlet.readings.0 } else { self.outlet.readings.1 });
        }
        self.quirks.others.get(oid).copied()
    }

    /// The first object after `oid`.
    fn next(&self, oid: &str) -> Option<String> {
        let arcs = |oid: &str| -> Vec<u32> { oid.split('.').map(|arc| arc.parse().unwrap()).collect() };
        let known = self.quirks.others.keys().map(String::as_str).chain([self.outlet.state]);
        known.filter(|other| arcs(other) > arcs(oid)).min_by_key(|other| arcs(other)).map(str::to_owned)
    }

    /// Follows an order; `false` where there is no such object.
    fn execute(&mut self, oid: &str, value: i32) -> bool {
        let AgentOutlet { on, off, .. } = self.outlet;
        if (oid, value) != on && (oid, value) != off {
            return false;
        }
        self.orders.push((oid.to_owned(), value));
        if self.behaviour != DeviceBehaviour::Lies {
            self.shown = (self.is_on, Instant::now() + self.quirks.follows_after);
            self.is_on = (oid, value) == on;
        }
        true
    }
}

pub(crate) struct SnmpAgent {
    pub(crate) addr: SocketAddr,
    state: Arc<Mutex<AgentState>>,
    _server: JoinSet<()>,
}

impl SnmpAgent {
    pub(crate) async fn with(
        outlet: AgentOutlet,
        quirks: AgentQuirks,
        behaviour: DeviceBehaviour,
        power: PowerState,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let is_on = power == PowerState::On;
        let state = Arc::new(Mutex::new(AgentState {
            outlet,
            behaviour,
            quirks,
            is_on,
            shown: (is_on, Instant::now()),
            orders: Vec::new(),
            logins: BTreeSet::new(),
            clients: BTreeSet::new(),
        }));
        let mut server = JoinSet::new();
        if behaviour != DeviceBehaviour::Refuses {
            server.spawn(answer_all(socket, Arc::clone(&state)));
        }
        Self { addr, state, _server: server }
    }

    /// An agent for an outlet that is on.
    pub(crate) async fn on(outlet: AgentOutlet, quirks: AgentQuirks) -> Self {
        Self::with(outlet, quirks, DeviceBehaviour::Normal, PowerState::On).await
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, AgentState> {
        self.state.lock().unwrap()
    }
}

impl TestDevice for SnmpAgent {
    async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self {
        Self::with(APC, AgentQuirks::default(), behaviour, state).await
    }

    fn url(&self, parameters: &str) -> String {
        format!("snmp://{}/{}&{parameters}", self.addr, self.lock().outlet.url)
    }

    fn url_of_missing_outlet(&self) -> Option<String> {
        Some(format!("snmp://{}/4?device=apc", self.addr))
    }

    fn state(&self) -> PowerState {
        if self.lock().is_on { PowerState::On } else { PowerState::Off }
    }

    fn received_orders(&self) -> Vec<PowerState> {
        let state = self.lock();
        let is_on = |(oid, value): &(String, i32)| (oid.as_str(), *value) == state.outlet.on;
        state.orders.iter().map(|order| if is_on(order) { PowerState::On } else { PowerState::Off }).collect()
    }

    fn connections(&self) -> usize {
        self.lock().clients.len()
    }

    async fn set_behaviour(&self, behaviour: DeviceBehaviour) {
        self.lock().behaviour = behaviour;
    }
}

async fn answer_all(socket: UdpSocket, state: Arc<Mutex<AgentState>>) {
    let mut buffer = [0; 2048];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let answers = react(&mut state.lock().unwrap(), client, &buffer[..length]);
        for answer in answers {
            socket.send_to(&answer, client).await.unwrap();
        }
    }
}

/// The datagrams that the agent sends for a request.
fn react(state: &mut AgentState, client: SocketAddr, datagram: &[u8]) -> Vec<Vec<u8>> {
    state.clients.insert(client);
    match state.behaviour {
        DeviceBehaviour::Hangs => return Vec::new(),
        DeviceBehaviour::Foreign => return vec![FOREIGN.to_vec()],
        DeviceBehaviour::Normal
        | DeviceBehaviour::Refuses
        | DeviceBehaviour::Mute
        | DeviceBehaviour::Lies => {}
    }
    let request = Request::decode(datagram);
    state.logins.insert((request.version, request.community.clone()));
    if request.community != "private" {
        return Vec::new();
    }
    let answer = if request.tag == GET_NEXT {
        let (oid, _) = &request.bindings[0];
        match state.next(oid) {
            Some(next) => request.answer(request.id, &[(&next, state.value(&next))]),
            None if request.version == 0 => request.refusal(NO_SUCH_NAME, 1),
            None => request.answer(request.id, &[(oid, None)]),
        }
    } else if request.tag == GET {
        let values: Vec<_> = request.bindings.iter().map(|(oid, _)| (oid, state.value(oid))).collect();
        match values.iter().position(|(_, value)| value.is_none()) {
            Some(missing) if request.version == 0 => request.refusal(NO_SUCH_NAME, missing + 1),
            Some(_) | None => request.answer(request.id, &values),
        }
    } else {
        let (oid, value) = request.bindings[0].clone();
        let is_followed = state.execute(&oid, value.unwrap());
        if is_followed && (state.behaviour == DeviceBehaviour::Mute || state.quirks.lost_confirmations > 0) {
            state.quirks.lost_confirmations = state.quirks.lost_confirmations.saturating_sub(1);
            return Vec::new();
        }
        match state.quirks.refuses_with {
            Some(status) => request.refusal(status, 1),
            None if is_followed => request.answer(request.id, &[(&oid, value)]),
            None => request.refusal(if request.version == 0 { NO_SUCH_NAME } else { NO_CREATION }, 1),
        }
    };
    if state.quirks.half_answers > 0 {
        state.quirks.half_answers -= 1;
        return vec![answer[..answer.len() / 2].to_vec()];
    }
    if state.quirks.wrong_ids > 0 {
        state.quirks.wrong_ids -= 1;
        // With another value too: who takes it reads the wrong state.
        let values: Vec<_> = request.bindings.iter().map(|(oid, _)| (oid, Some(77))).collect();
        return vec![request.answer(request.id + 1, &values), answer];
    }
    vec![answer]
}

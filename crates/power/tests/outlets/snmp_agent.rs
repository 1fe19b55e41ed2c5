//! An SNMP agent of our own (versions 1 and 2c) behind a UDP port, with the bad habits of real ones. The library of the
//! driver is not used on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use power::PowerState;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use crate::conformance::{DeviceBehaviour, TestDevice};

/// What an agent of another protocol says.
const FOREIGN: &[u8] = b"SSH-2.0-OpenSSH_9.2\r\n";

// Tags of ASN.1 BER and of PDUs. Source: RFC 3416 section 3, RFC 1157 section 4.1.
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const GET: u8 = 0xa0;
const RESPONSE: u8 = 0xa2;
const SET: u8 = 0xa3;
const NO_SUCH_INSTANCE: u8 = 0x81;
// Error statuses.
pub(crate) const NO_SUCH_NAME: u8 = 2;
pub(crate) const GEN_ERR: u8 = 5;
pub(crate) const NO_CREATION: u8 = 11;

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

/// Habits that a driver has to cope with.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentHabits {
    /// It follows this many orders and does not answer them.
    pub(crate) lost_confirmations: usize,
    /// It answers this many requests under another request ID first.
    pub(crate) wrong_ids: usize,
    /// It answers this many requests by half a message.
    pub(crate) half_answers: usize,
    /// It answers orders with this error status, and follows them nevertheless.
    pub(crate) refuses_with: Option<u8>,
    /// It shows what it was told only after this time.
    pub(crate) follows_after: Duration,
    /// Other objects that it has.
    pub(crate) others: BTreeMap<String, i32>,
}

pub(crate) struct AgentState {
    outlet: AgentOutlet,
    behaviour: DeviceBehaviour,
    pub(crate) habits: AgentHabits,
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
        self.habits.others.get(oid).copied()
    }

    /// Follows an order; `false` where there is no such object.
    fn execute(&mut self, oid: &str, value: i32) -> bool {
        let AgentOutlet { on, off, .. } = self.outlet;
        if (oid, value) != on && (oid, value) != off {
            return false;
        }
        self.orders.push((oid.to_owned(), value));
        if self.behaviour != DeviceBehaviour::Lies {
            self.shown = (self.is_on, Instant::now() + self.habits.follows_after);
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
        habits: AgentHabits,
        behaviour: DeviceBehaviour,
        power: PowerState,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let is_on = power == PowerState::On;
        let state = Arc::new(Mutex::new(AgentState {
            outlet,
            behaviour,
            habits,
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
    pub(crate) async fn on(outlet: AgentOutlet, habits: AgentHabits) -> Self {
        Self::with(outlet, habits, DeviceBehaviour::Normal, PowerState::On).await
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, AgentState> {
        self.state.lock().unwrap()
    }
}

impl TestDevice for SnmpAgent {
    async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self {
        Self::with(APC, AgentHabits::default(), behaviour, state).await
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
    let answer = if request.tag == GET {
        let values: Vec<_> = request.bindings.iter().map(|(oid, _)| (oid, state.value(oid))).collect();
        match values.iter().position(|(_, value)| value.is_none()) {
            Some(missing) if request.version == 0 => request.refusal(NO_SUCH_NAME, missing + 1),
            Some(_) | None => request.answer(request.id, &values),
        }
    } else {
        let (oid, value) = request.bindings[0].clone();
        let is_followed = state.execute(&oid, value.unwrap());
        if is_followed && (state.behaviour == DeviceBehaviour::Mute || state.habits.lost_confirmations > 0) {
            state.habits.lost_confirmations = state.habits.lost_confirmations.saturating_sub(1);
            return Vec::new();
        }
        match state.habits.refuses_with {
            Some(status) => request.refusal(status, 1),
            None if is_followed => request.answer(request.id, &[(&oid, value)]),
            None => request.refusal(if request.version == 0 { NO_SUCH_NAME } else { NO_CREATION }, 1),
        }
    };
    if state.habits.half_answers > 0 {
        state.habits.half_answers -= 1;
        return vec![answer[..answer.len() / 2].to_vec()];
    }
    if state.habits.wrong_ids > 0 {
        state.habits.wrong_ids -= 1;
        // With another value too: who takes it reads the wrong state.
        let values: Vec<_> = request.bindings.iter().map(|(oid, _)| (oid, Some(77))).collect();
        return vec![request.answer(request.id + 1, &values), answer];
    }
    vec![answer]
}

/// A request, decoded.
struct Request {
    version: i32,
    community: String,
    tag: u8,
    id: i32,
    bindings: Vec<(String, Option<i32>)>,
}

impl Request {
    fn decode(datagram: &[u8]) -> Self {
        let (_, message, _) = read(datagram);
        let (_, version, rest) = read(message);
        let (_, community, rest) = read(rest);
        let (tag, pdu, _) = read(rest);
        assert!(tag == GET || tag == SET, "tag {tag:#x}");
        let (_, id, rest) = read(pdu);
        let (_, _error_status, rest) = read(rest);
        let (_, _error_index, rest) = read(rest);
        let (_, mut list, _) = read(rest);
        let mut bindings = Vec::new();
        while !list.is_empty() {
            let (_, binding, rest) = read(list);
            let (_, oid, value) = read(binding);
            let (value_tag, value, _) = read(value);
            bindings.push((oid_text(oid), (value_tag == INTEGER).then(|| integer(value))));
            list = rest;
        }
        let community = String::from_utf8(community.to_vec()).unwrap();
        Self { version: integer(version), community, tag, id: integer(id), bindings }
    }

    fn answer(&self, id: i32, values: &[(&String, Option<i32>)]) -> Vec<u8> {
        self.response(id, 0, 0, values)
    }

    fn refusal(&self, status: u8, index: usize) -> Vec<u8> {
        let values: Vec<_> = self.bindings.iter().map(|(oid, value)| (oid, *value)).collect();
        self.response(self.id, status, index, &values)
    }

    fn response(&self, id: i32, status: u8, index: usize, values: &[(&String, Option<i32>)]) -> Vec<u8> {
        let bindings = values.iter().flat_map(|(oid, value)| {
            let value = match value {
                Some(value) => write(INTEGER, &integer_bytes(*value)),
                None => write(NO_SUCH_INSTANCE, &[]),
            };
            write(SEQUENCE, &[write(OID, &oid_bytes(oid)), value].concat())
        });
        let pdu = [
            write(INTEGER, &integer_bytes(id)),
            write(INTEGER, &[status]),
            write(INTEGER, &[u8::try_from(index).unwrap()]),
            write(SEQUENCE, &bindings.collect::<Vec<_>>()),
        ];
        let message = [
            write(INTEGER, &integer_bytes(self.version)),
            write(OCTET_STRING, self.community.as_bytes()),
            write(RESPONSE, &pdu.concat()),
        ];
        write(SEQUENCE, &message.concat())
    }
}

/// Reads one element: its tag, its content, and what follows.
fn read(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
    let (tag, rest) = bytes.split_first().unwrap();
    let (length, rest) = rest.split_first().unwrap();
    let (length, rest) = match length {
        0..0x80 => (usize::from(*length), rest),
        0x81 => (usize::from(rest[0]), &rest[1..]),
        _ => panic!("a length of {length:#x}"),
    };
    let (content, rest) = rest.split_at(length);
    (*tag, content, rest)
}

fn write(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [head, content.to_vec()].concat()
}

fn integer(bytes: &[u8]) -> i32 {
    let negative = bytes[0] & 0x80 != 0;
    bytes.iter().fold(if negative { -1 } else { 0 }, |value, byte| (value << 8) | i32::from(*byte))
}

fn integer_bytes(value: i32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    // The shortest form: a first byte that only repeats the sign is left out.
    let is_needless = |pair: &[u8]| matches!((pair[0], pair[1] & 0x80), (0, 0) | (0xff, 0x80));
    let first = bytes.windows(2).take_while(|pair| is_needless(pair)).count();
    bytes[first..].to_vec()
}

fn oid_text(bytes: &[u8]) -> String {
    let mut arcs = vec![u32::from(bytes[0] / 40), u32::from(bytes[0] % 40)];
    let mut arc = 0;
    for byte in &bytes[1..] {
        arc = (arc << 7) | u32::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            arcs.push(std::mem::take(&mut arc));
        }
    }
    arcs.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn oid_bytes(text: &str) -> Vec<u8> {
    let arcs: Vec<u32> = text.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut bytes = vec![u8::try_from(arcs[0] * 40 + arcs[1]).unwrap()];
    for arc in &arcs[2..] {
        let groups: Vec<u8> =
            (0..5).rev().map(|group| u8::try_from((arc >> (7 * group)) & 0x7f).unwrap()).collect();
        let first = groups.iter().position(|group| *group != 0).unwrap_or(4);
        let (last, leading) = groups[first..].split_last().unwrap();
        bytes.extend(leading.iter().map(|group| group | 0x80));
        bytes.push(*last);
    }
    bytes
}

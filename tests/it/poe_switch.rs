//! Boards that the ports of one simulated switch power, by POWER-ETHERNET-MIB (RFC 3621).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::snmp_message::{GET, Request};

/// pethPsePortAdminEnable of the group 1: true(1), false(2).
const ADMIN_ENABLE: &str = "1.3.6.1.2.1.105.1.1.1.3.1.";

// Source: RFC 3416 section 3.
const NO_CREATION: u8 = 11;

/// A switch with a powered board at each port, from 1.
pub(crate) struct PoeSwitch {
    addr: SocketAddr,
    state: Arc<Mutex<SwitchState>>,
    _server: JoinSet<()>,
}

struct SwitchState {
    ports: u16,
    off: Vec<u16>,
    is_dead: bool,
    orders: Vec<(u16, bool)>,
}

impl PoeSwitch {
    pub(crate) async fn new(ports: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let state = SwitchState { ports, off: Vec::new(), is_dead: false, orders: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let mut server = JoinSet::new();
        server.spawn(answer_all(socket, Arc::clone(&state)));
        Self { addr, state, _server: server }
    }

    fn lock(&self) -> MutexGuard<'_, SwitchState> {
        self.state.lock().unwrap()
    }

    /// The resource of its ports.
    pub(crate) fn resource(&self) -> String {
        format!("snmp://{}", self.addr)
    }

    /// The power facts of the board at `port`; its off time is short compared with every deadline.
    pub(crate) fn power_facts(&self, port: u16) -> Value {
        json!({ "power_url": format!("{}/{port}?device=poe&off=50ms", self.resource()) })
    }

    /// A dead switch answers nothing.
    pub(crate) fn set_dead(&self, is_dead: bool) {
        self.lock().is_dead = is_dead;
    }

    /// The orders that it has followed: `(port, on)`.
    pub(crate) fn orders(&self) -> Vec<(u16, bool)> {
        self.lock().orders.clone()
    }
}

impl SwitchState {
    /// The port of an object of this switch.
    fn port(&self, oid: &str) -> Option<u16> {
        oid.strip_prefix(ADMIN_ENABLE)?.parse().ok().filter(|port| (1..=self.ports).contains(port))
    }

    fn value(&self, oid: &str) -> Option<i32> {
        self.port(oid).map(|port| if self.off.contains(&port) { 2 } else { 1 })
    }

    fn react(&mut self, request: &Request) -> Vec<u8> {
        if request.tag == GET {
            let values: Vec<_> = request.bindings.iter().map(|(oid, _)| (oid, self.value(oid))).collect();
            return request.answer(request.id, &values);
        }
        let (oid, value) = &request.bindings[0];
        let Some(port) = self.port(oid) else { return request.refusal(NO_CREATION, 1) };
        let is_on = *value == Some(1);
        self.orders.push((port, is_on));
        self.off.retain(|other| *other != port);
        if !is_on {
            self.off.push(port);
        }
        request.answer(request.id, &[(oid, *value)])
    }
}

async fn answer_all(socket: UdpSocket, state: Arc<Mutex<SwitchState>>) {
    let mut buffer = [0; 2048];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let request = Request::decode(&buffer[..length]);
        let answer = {
            let mut state = state.lock().unwrap();
            (!state.is_dead).then(|| state.react(&request))
        };
        if let Some(answer) = answer {
            socket.send_to(&answer, client).await.unwrap();
        }
    }
}

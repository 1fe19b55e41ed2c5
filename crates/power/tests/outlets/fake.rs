//! A relay board of our own behind a TCP port, for one protocol, with the quirks of real ones.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use power::PowerState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::conformance::{DeviceBehaviour, TestDevice};

/// Number of relays.
const RELAYS: usize = 8;
/// What a device that speaks another protocol says.
const FOREIGN: &[u8] = b"SSH-2.0-OpenSSH_9.2\r\n";

/// A protocol as the device implements it. The driver's code is not used on purpose.
pub(crate) trait FakeProtocol: Clone + Default + Send + Sync + 'static {
    /// The relay that the tested outlet switches, from 0.
    const RELAY: usize;
    /// Whether the board has power while that relay is on.
    const POWER_IF_ON: bool;

    /// State of one connection.
    type Session: Default + Send;

    /// The power URL of the tested outlet.
    fn url(&self, addr: SocketAddr, parameters: &str) -> String;

    /// The power URL of an outlet that the device says it does not have.
    fn url_of_missing_outlet(&self, addr: SocketAddr) -> Option<String>;

    /// What the device sends to a new client.
    fn greeting(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Decodes the next request.
    fn decode(&self, session: &mut Self::Session, relays: [bool; RELAYS], received: &[u8]) -> Decoded;
}

/// The next request, decoded.
pub(crate) enum Decoded {
    /// Not complete yet.
    Incomplete,
    /// A request of this length, and its answer.
    Request { length: usize, order: Option<RelayOrder>, answer: Vec<u8> },
    /// The device closes the connection.
    Hangup,
}

/// An order to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelayOrder {
    pub(crate) relay: usize,
    pub(crate) is_on: bool,
    /// After this time the device reverts it by itself.
    pub(crate) reverts_after: Option<Duration>,
}

/// Quirks that a driver has to cope with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DeviceQuirks {
    /// The device serves one client, rests for this time afterwards, and closes other connections at once.
    pub(crate) rest: Option<Duration>,
    /// It closes each connection after one answer.
    pub(crate) closes_after_answer: bool,
    /// It closes the connection in the middle of this many answers.
    pub(crate) half_answers: usize,
    /// It executes this many orders and closes the connection instead of answering.
    pub(crate) lost_confirmations: usize,
}

pub(crate) struct FakeState {
    behaviour: DeviceBehaviour,
    pub(crate) quirks: DeviceQuirks,
    relays: [bool; RELAYS],
    /// The relay, its state after reverting, and when.
    reverting: Option<(usize, bool, Instant)>,
    pub(crate) orders: Vec<RelayOrder>,
    /// Requests, in order.
    pub(crate) requests: Vec<Vec<u8>>,
    connections: usize,
    /// Connections closed at once.
    pub(crate) turned_away: usize,
    has_client: bool,
    rests_until: Instant,
}

impl FakeState {
    /// Reverts what is due.
    fn settle(&mut self) {
        if let Some((relay, is_on, at)) = self.reverting
            && at <= Instant::now()
        {
            self.relays[relay] = is_on;
            self.reverting = None;
        }
    }

    fn execute(&mut self, order: RelayOrder) {
        let RelayOrder { relay, is_on, reverts_after } = order;
        self.relays[relay] = is_on;
        self.reverting = reverts_after.map(|span| (relay, !is_on, Instant::now() + span));
    }
}

/// What the device does with the bytes received.
enum Reaction {
    Waits,
    Sends(Vec<u8>),
    SendsAndCloses(Vec<u8>),
}

pub(crate) struct FakeDevice<P> {
    pub(crate) addr: SocketAddr,
    pub(crate) protocol: P,
    state: Arc<Mutex<FakeState>>,
    _server: JoinSet<()>,
}

impl<P: FakeProtocol> FakeDevice<P> {
    pub(crate) async fn with(
        protocol: P,
        quirks: DeviceQuirks,
        behaviour: DeviceBehaviour,
        power: PowerState,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut relays = [false; RELAYS];
        relays[P::RELAY] = (power == PowerState::On) == P::POWER_IF_ON;
        let state = Arc::new(Mutex::new(FakeState {
            behaviour,
            quirks,
            relays,
            reverting: None,
            orders: Vec::new(),
            requests: Vec::new(),
            connections: 0,
            turned_away: 0,
            has_client: false,
            rests_until: Instant::now(),
        }));
        let mut server = JoinSet::new();
        if behaviour != DeviceBehaviour::Refuses {
            let client = FakeClient { protocol: protocol.clone(), state: Arc::clone(&state) };
            server.spawn(client.accept_all(listener));
        }
        Self { addr, protocol, state, _server: server }
    }

    /// A device without quirks, on.
    pub(crate) async fn on() -> Self {
        Self::with(P::default(), DeviceQuirks::default(), DeviceBehaviour::Normal, PowerState::On).await
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, FakeState> {
        let mut state = self.state.lock().unwrap();
        state.settle();
        state
    }
}

impl<P: FakeProtocol> TestDevice for FakeDevice<P> {
    async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self {
        Self::with(P::default(), DeviceQuirks::default(), behaviour, state).await
    }

    fn url(&self, parameters: &str) -> String {
        self.protocol.url(self.addr, parameters)
    }

    fn url_of_missing_outlet(&self) -> Option<String> {
        self.protocol.url_of_missing_outlet(self.addr)
    }

    fn state(&self) -> PowerState {
        if self.lock().relays[P::RELAY] == P::POWER_IF_ON { PowerState::On } else { PowerState::Off }
    }

    fn received_orders(&self) -> Vec<PowerState> {
        let state = |order: &RelayOrder| {
            if order.is_on == P::POWER_IF_ON { PowerState::On } else { PowerState::Off }
        };
        self.lock().orders.iter().map(state).collect()
    }

    fn connections(&self) -> usize {
        self.lock().connections
    }

    async fn set_behaviour(&self, behaviour: DeviceBehaviour) {
        self.lock().behaviour = behaviour;
    }
}

#[derive(Clone)]
struct FakeClient<P> {
    protocol: P,
    state: Arc<Mutex<FakeState>>,
}

impl<P: FakeProtocol> FakeClient<P> {
    async fn accept_all(self, listener: TcpListener) {
        let mut served = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            if self.is_welcome() {
                served.spawn(self.clone().serve(stream));
            }
        }
    }

    fn is_welcome(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.connections += 1;
        let is_free = !state.has_client && state.rests_until <= Instant::now();
        if state.quirks.rest.is_some() && !is_free {
            state.turned_away += 1;
            return false;
        }
        state.has_client = true;
        true
    }

    async fn serve(self, mut stream: TcpStream) {
        self.answer_all(&mut stream).await.ok();
        drop(stream);
        let mut state = self.state.lock().unwrap();
        state.has_client = false;
        state.rests_until = Instant::now() + state.quirks.rest.unwrap_or_default();
    }

    async fn answer_all(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let (mut session, mut received) = (P::Session::default(), Vec::new());
        let greeting = self.protocol.greeting();
        let behaviour = self.state.lock().unwrap().behaviour;
        if behaviour == DeviceBehaviour::Foreign && !greeting.is_empty() {
            stream.write_all(FOREIGN).await?;
        } else if behaviour != DeviceBehaviour::Hangs {
            stream.write_all(&greeting).await?;
        }
        loop {
            let mut chunk = [0; 256];
            match stream.read(&mut chunk).await? {
                0 => return Ok(()),
                length => received.extend_from_slice(&chunk[..length]),
            }
            loop {
                match self.react(&mut session, &mut received) {
                    Reaction::Waits => break,
                    Reaction::Sends(answer) => stream.write_all(&answer).await?,
                    Reaction::SendsAndCloses(answer) => return stream.write_all(&answer).await,
                }
            }
        }
    }

    fn react(&self, session: &mut P::Session, received: &mut Vec<u8>) -> Reaction {
        let mut state = self.state.lock().unwrap();
        state.settle();
        if received.is_empty() || state.behaviour == DeviceBehaviour::Hangs {
            received.clear();
            return Reaction::Waits;
        }
        if state.behaviour == DeviceBehaviour::Foreign {
            received.clear();
            return Reaction::Sends(FOREIGN.to_vec());
        }
        let (length, order, answer) = match self.protocol.decode(session, state.relays, received) {
            Decoded::Incomplete => return Reaction::Waits,
            Decoded::Hangup => return Reaction::SendsAndCloses(Vec::new()),
            Decoded::Request { length, order, answer } => (length, order, answer),
        };
        state.requests.push(received.drain(..length).collect());
        if let Some(order) = order {
            state.orders.push(order);
            if state.behaviour != DeviceBehaviour::Lies {
                state.execute(order);
            }
            if state.behaviour == DeviceBehaviour::Mute {
                return Reaction::Waits;
            }
            if state.quirks.lost_confirmations > 0 {
                state.quirks.lost_confirmations -= 1;
                return Reaction::SendsAndCloses(Vec::new());
            }
        }
        if state.quirks.half_answers > 0 {
            state.quirks.half_answers -= 1;
            return Reaction::SendsAndCloses(answer[..answer.len() / 2].to_vec());
        }
        if state.quirks.closes_after_answer {
            Reaction::SendsAndCloses(answer)
        } else {
            Reaction::Sends(answer)
        }
    }
}

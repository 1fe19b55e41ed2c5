//! A fake device with one outlet and HTTP or HTTPS: one request per connection, and the quirks of [`DeviceBehaviour`].

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use power::PowerState;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::conformance::DeviceBehaviour;

/// A request as the device received it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| value)
    }
}

/// An order in a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) state: PowerState,
    /// When the device toggles the outlet again by itself.
    pub(crate) toggle_after: Option<Duration>,
}

/// The outlet as the device reports it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reported {
    pub(crate) is_on: bool,
    /// Whether a timer will toggle it.
    pub(crate) has_timer: bool,
}

/// What a device understands, and how it answers.
pub(crate) trait HttpProtocol: Send + Sync + 'static {
    /// The order in a request that the device accepts.
    fn order(&self, request: &Request) -> Option<Order>;

    /// Whether an order without a time leaves the time of an earlier order running.
    fn keeps_timer(&self) -> bool {
        false
    }

    /// The answer, with its head.
    fn answer(&self, request: &Request, reported: Reported) -> Vec<u8>;
}

/// Answers every request in the same way, and accepts no order.
impl<F: Fn(&Request) -> Vec<u8> + Send + Sync + 'static> HttpProtocol for F {
    fn order(&self, _: &Request) -> Option<Order> {
        None
    }

    fn answer(&self, request: &Request, _: Reported) -> Vec<u8> {
        self(request)
    }
}

struct State {
    behaviour: DeviceBehaviour,
    is_on: bool,
    toggles_at: Option<Instant>,
    orders: Vec<PowerState>,
    requests: Vec<Request>,
    connections: usize,
    /// Where it serves one client: how long it rests afterwards. It closes other connections at once.
    rest: Option<Duration>,
    has_client: bool,
    rests_until: Instant,
    /// Connections closed at once.
    turned_away: usize,
}

impl State {
    /// Toggles the outlet if its time has come.
    fn run_timer(&mut self) {
        if self.toggles_at.is_some_and(|at| Instant::now() >= at) {
            self.toggles_at = None;
            self.is_on = !self.is_on;
        }
    }

    /// Counts a connection; returns whether it is served.
    fn admit(&mut self) -> bool {
        self.connections += 1;
        let is_free = !self.has_client && self.rests_until <= Instant::now();
        let is_served = is_free || self.rest.is_none();
        self.has_client |= is_served;
        self.turned_away += usize::from(!is_served);
        is_served
    }

    fn release(&mut self) {
        self.has_client = false;
        self.rests_until = Instant::now() + self.rest.unwrap_or_default();
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<State>>, Arc<dyn HttpProtocol>);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap();
        state.run_timer();
        state
    }

    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Some(request) = read_request(&mut stream).await else { return };
        let Some(answer) = self.execute(&request) else { return std::future::pending().await };
        stream.write_all(&answer).await.ok();
        stream.shutdown().await.ok();
    }

    /// Executes a request; returns the answer, if any.
    fn execute(&self, request: &Request) -> Option<Vec<u8>> {
        let mut state = self.state();
        state.requests.push(request.clone());
        let order = self.1.order(request);
        if state.behaviour == DeviceBehaviour::Hangs {
            return None;
        }
        state.orders.extend(order.map(|order| order.state));
        let is_on = order.map_or(state.is_on, |order| order.state == PowerState::On);
        if state.behaviour != DeviceBehaviour::Lies {
            state.is_on = is_on;
            if let Some(order) = order {
                let kept = state.toggles_at.filter(|_| self.1.keeps_timer());
                state.toggles_at = order.toggle_after.map(|after| Instant::now() + after).or(kept);
            }
        }
        match state.behaviour {
            DeviceBehaviour::Mute if order.is_some() => None,
            DeviceBehaviour::Foreign => Some(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
            DeviceBehaviour::Normal
            | DeviceBehaviour::Refuses
            | DeviceBehaviour::Hangs
            | DeviceBehaviour::Mute
            | DeviceBehaviour::Lies => {
                Some(self.1.answer(request, Reported { is_on, has_timer: state.toggles_at.is_some() }))
            }
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut request = Request { method, target, headers, body: String::new() };
    let mut body = vec![0; request.header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}

/// The device.
pub(crate) struct HttpDevice {
    pub(crate) addr: SocketAddr,
    shared: Shared,
    _server: JoinSet<()>,
    /// Keeps the port of a device that refuses connections.
    _refusing: Option<TcpSocket>,
}

impl HttpDevice {
    pub(crate) async fn start(
        behaviour: DeviceBehaviour,
        state: PowerState,
        protocol: impl HttpProtocol,
    ) -> Self {
        Self::start_with(None, behaviour, state, protocol).await
    }

    /// Starts the device with TLS, where there is an acceptor.
    #[expect(clippy::unused_async, reason = "it needs a runtime, as all that starts a fake device")]
    pub(crate) async fn start_with(
        tls: Option<TlsAcceptor>,
        behaviour: DeviceBehaviour,
        state: PowerState,
        protocol: impl HttpProtocol,
    ) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = socket.local_addr().unwrap();
        let state = State {
            behaviour,
            is_on: state == PowerState::On,
            toggles_at: None,
            orders: Vec::new(),
            requests: Vec::new(),
            connections: 0,
            rest: None,
            has_client: false,
            rests_until: Instant::now(),
            turned_away: 0,
        };
        let shared = Shared(Arc::new(Mutex::new(state)), Arc::new(protocol));
        let (mut server, accepting) = (JoinSet::new(), shared.clone());
        let refusing = if behaviour == DeviceBehaviour::Refuses {
            Some(socket)
        } else {
            let listener = socket.listen(128).unwrap();
            server.spawn(async move {
                let mut served = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    if !accepting.state().admit() {
                        continue;
                    }
                    let (device, tls) = (accepting.clone(), tls.clone());
                    served.spawn(async move {
                        match tls {
                            None => device.clone().serve(stream).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    device.clone().serve(stream).await;
                                }
                            }
                        }
                        device.state().release();
                    });
                }
            });
            None
        };
        Self { addr, shared, _server: server, _refusing: refusing }
    }

    /// A device that follows no order and always gives this answer.
    pub(crate) async fn answering(answer: Vec<u8>) -> Self {
        Self::start(DeviceBehaviour::Normal, PowerState::On, move |_: &Request| answer.clone()).await
    }

    /// Serves one client from now on, and rests for this time after each.
    pub(crate) fn serve_one_client(&self, rest: Duration) {
        self.shared.state().rest = Some(rest);
    }

    /// The number of connections that were closed at once.
    pub(crate) fn turned_away(&self) -> usize {
        self.shared.state().turned_away
    }

    pub(crate) fn state(&self) -> PowerState {
        if self.shared.state().is_on { PowerState::On } else { PowerState::Off }
    }

    pub(crate) fn received_orders(&self) -> Vec<PowerState> {
        self.shared.state().orders.clone()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.state().connections
    }

    pub(crate) fn set_behaviour(&self, behaviour: DeviceBehaviour) {
        self.shared.state().behaviour = behaviour;
    }
}

/// An answer with a length, as most devices send it.
pub(crate) fn answer(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

/// An answer of status 401 with this challenge.
pub(crate) fn unauthorized(challenge: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\n");
    format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

//! A simulated relay board: Modbus TCP as real relay boards speak it, with a wire at each coil.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::Server;
use tokio_modbus::{ExceptionCode, Request, Response, SlaveRequest};

use crate::clock::{Clock, SystemClock};

/// How a relay board takes its clients and their orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    Normal,
    /// As it should, but a second client's connection is closed at once.
    OneClientAtATime,
    /// Does not take connections, and drops those that it had.
    Refusing,
    /// Takes connections and orders, does nothing and never answers.
    Hanging,
    /// Does what it is told to, but does not answer a write; it answers a read.
    Mute,
    /// Says that it switched this coil and does not; a read shows the truth.
    Lying {
        /// Which coil.
        coil: u16,
    },
}

/// One change of a coil.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// When it changed.
    pub at: DateTime<Utc>,
    /// Which coil.
    pub coil: u16,
    /// What it is since then.
    pub on: bool,
}

/// A relay board that runs until it is dropped.
pub struct RelayBoard {
    addr: SocketAddr,
    state: Arc<State>,
    /// Bound and never listening: it keeps the port ours while the board refuses connections.
    _port: TcpSocket,
    _tasks: JoinSet<()>,
}

struct State {
    clock: Arc<dyn Clock>,
    coils: Vec<watch::Sender<bool>>,
    behaviour: watch::Sender<Behaviour>,
    unit: watch::Sender<Option<u8>>,
    operations: watch::Sender<Vec<Operation>>,
    clients: AtomicUsize,
    connections: AtomicUsize,
}

impl RelayBoard {
    /// Starts a relay board with `coils` coils, all of them off, at `listen`; port 0 takes any free port.
    ///
    /// # Errors
    ///
    /// When the address cannot be had.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(listen: SocketAddr, coils: u16, behaviour: Behaviour) -> io::Result<Self> {
        Self::start_on(Arc::new(SystemClock), listen, coils, behaviour)
    }

    /// Starts a relay board as [`RelayBoard::start`] does, whose operations bear the times of `clock`.
    ///
    /// # Errors
    ///
    /// When the address cannot be had.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start_on(
        clock: Arc<dyn Clock>,
        listen: SocketAddr,
        coils: u16,
        behaviour: Behaviour,
    ) -> io::Result<Self> {
        let port = bind(listen)?;
        let addr = port.local_addr()?;
        let state = Arc::new(State {
            clock,
            coils: (0..coils).map(|_| watch::Sender::new(false)).collect(),
            behaviour: watch::Sender::new(behaviour),
            unit: watch::Sender::new(None),
            operations: watch::Sender::default(),
            clients: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        // The first listener is made here, so that a client may come as soon as this returns.
        let first = if behaviour == Behaviour::Refusing { None } else { Some(listener(addr)?) };
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(addr, first, Arc::clone(&state)));
        Ok(Self { addr, state, _port: port, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The wire at coil `coil`; of a coil that the board does not have, a wire that is off for ever.
    #[must_use]
    pub fn coil(&self, coil: u16) -> watch::Receiver<bool> {
        let sender = self.state.coils.get(usize::from(coil));
        sender.map_or_else(|| watch::channel(false).1, watch::Sender::subscribe)
    }

    /// Switches a coil by hand; nothing happens where there is no such coil.
    pub fn switch(&self, coil: u16, on: bool) {
        self.state.switch(coil, on);
    }

    /// Behaves like this from the next connection and the next request on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.state.behaviour.send_replace(behaviour);
    }

    /// Answers requests for `unit` alone, as a gateway with one unit behind it does; `None` answers all.
    pub fn set_unit(&self, unit: Option<u8>) {
        self.state.unit.send_replace(unit);
    }

    /// Every change of a coil so far, in order; telling a coil what it is already is no change.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.state.operations.borrow().clone()
    }

    /// How many clients are connected.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.state.clients.load(Ordering::SeqCst)
    }

    /// How many connections there have been, those included that were closed at once.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

fn listener(addr: SocketAddr) -> io::Result<TcpListener> {
    bind(addr)?.listen(64)
}

/// Listens while the behaviour has the board take connections. Ending to listen closes the connections that there are.
async fn serve(addr: SocketAddr, mut first: Option<TcpListener>, state: Arc<State>) {
    let mut behaviour = state.behaviour.subscribe();
    loop {
        if behaviour.wait_for(|now| *now != Behaviour::Refusing).await.is_err() {
            return;
        }
        let listener = match first.take().map_or_else(|| listener(addr), Ok) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "a simulated relay board lost its address");
                return;
            }
        };
        let server = Server::new(listener);
        let on_connected = |stream, _| ready(Ok(connected(stream, Arc::clone(&state))));
        let on_error =
            |error: io::Error| tracing::debug!(%error, "a client of a simulated relay board went away");
        tokio::select! {
            ended = server.serve(&on_connected, on_error) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a simulated relay board listens anew");
                }
            }
            _ = behaviour.wait_for(|now| *now == Behaviour::Refusing) => {}
        }
    }
}

fn connected(stream: TcpStream, state: Arc<State>) -> Option<(Client, TcpStream)> {
    state.connections.fetch_add(1, Ordering::SeqCst);
    let before = state.clients.fetch_add(1, Ordering::SeqCst);
    let is_full = before > 0 && *state.behaviour.borrow() == Behaviour::OneClientAtATime;
    let client = Client { state };
    (!is_full).then_some((client, stream))
}

/// One connection; counted while it lasts.
struct Client {
    state: Arc<State>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.state.clients.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service for Client {
    type Request = SlaveRequest<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Option<Response>, ExceptionCode>>;

    fn call(&self, request: SlaveRequest<'static>) -> Self::Future {
        let unit = *self.state.unit.borrow();
        if unit.is_some_and(|unit| unit != request.slave) {
            return ready(Ok(None));
        }
        ready(self.state.answer(request.request))
    }
}

impl State {
    #[expect(clippy::wildcard_enum_match_arm, reason = "a relay board knows nothing but coils")]
    fn answer(&self, request: Request<'static>) -> Result<Option<Response>, ExceptionCode> {
        let behaviour = *self.behaviour.borrow();
        if behaviour == Behaviour::Hanging {
            return Ok(None);
        }
        let written = |response| if behaviour == Behaviour::Mute { None } else { Some(response) };
        match request {
            Request::ReadCoils(first, count) => {
                let coils = self.range(first, usize::from(count), 2000)?;
                Ok(Some(Response::ReadCoils(coils.iter().map(|coil| *coil.borrow()).collect())))
            }
            Request::WriteSingleCoil(coil, on) => {
                self.range(coil, 1, 1)?;
                self.write(coil, on, behaviour);
                Ok(written(Response::WriteSingleCoil(coil, on)))
            }
            Request::WriteMultipleCoils(first, values) => {
                self.range(first, values.len(), 1968)?;
                for (coil, on) in (first..).zip(values.iter()) {
                    self.write(coil, *on, behaviour);
                }
                let count = u16::try_from(values.len()).map_err(|_| ExceptionCode::IllegalDataValue)?;
                Ok(written(Response::WriteMultipleCoils(first, count)))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        }
    }

    /// Source: Modbus Application Protocol 1.1b3, 6.1, 6.5 and 6.11: how many coils one request may have.
    fn range(&self, first: u16, count: usize, most: usize) -> Result<&[watch::Sender<bool>], ExceptionCode> {
        if count == 0 || count > most {
            return Err(ExceptionCode::IllegalDataValue);
        }
        let first = usize::from(first);
        self.coils.get(first..first + count).ok_or(ExceptionCode::IllegalDataAddress)
    }

    fn write(&self, coil: u16, on: bool, behaviour: Behaviour) {
        if behaviour != (Behaviour::Lying { coil }) {
            self.switch(coil, on);
        }
    }

    fn switch(&self, coil: u16, on: bool) {
        let Some(wire) = self.coils.get(usize::from(coil)) else { return };
        // Logged before the wire shows it, and as one step, so that who sees the wire finds it in the log.
        self.operations.send_if_modified(|operations| {
            let is_change = *wire.borrow() != on;
            if is_change {
                operations.push(Operation { at: self.clock.now(), coil, on });
                wire.send_replace(on);
            }
            is_change
        });
    }
}

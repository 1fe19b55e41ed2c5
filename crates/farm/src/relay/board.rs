//! A relay board that runs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clock::{Clock, SystemClock};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::behaviour::RelayBehaviour;
use super::coil_change::CoilChange;
use super::coils::RelayState;
use super::serve::{bind, listener, serve};

/// A relay board that runs until it is dropped.
pub struct RelayBoard {
    addr: SocketAddr,
    state: Arc<RelayState>,
    /// Bound and never listening: it keeps the port ours while the board refuses connections.
    _port: TcpSocket,
    _tasks: JoinSet<()>,
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
    pub fn start(listen: SocketAddr, coils: u16, behaviour: RelayBehaviour) -> io::Result<Self> {
        Self::start_with_clock(Arc::new(SystemClock), listen, coils, behaviour)
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
    pub fn start_with_clock(
        clock: Arc<dyn Clock>,
        listen: SocketAddr,
        coils: u16,
        behaviour: RelayBehaviour,
    ) -> io::Result<Self> {
        let port = bind(listen)?;
        let addr = port.local_addr()?;
        let state = Arc::new(RelayState {
            clock,
            coils: (0..coils).map(|_| watch::Sender::new(false)).collect(),
            behaviour: watch::Sender::new(behaviour),
            unit: watch::Sender::new(None),
            coil_changes: watch::Sender::default(),
            writes: watch::Sender::default(),
            clients: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        // The first listener is made here, so that a client may come as soon as this returns.
        let first = if behaviour == RelayBehaviour::Refusing { None } else { Some(listener(addr)?) };
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
    pub fn set_behaviour(&self, behaviour: RelayBehaviour) {
        self.state.behaviour.send_replace(behaviour);
    }

    /// Answers requests for `unit` alone, as a gateway with one unit behind it does; `None` answers all.
    pub fn set_unit(&self, unit: Option<u8>) {
        self.state.unit.send_replace(unit);
    }

    /// Every change of a coil so far, in order; telling a coil what it is already is no change.
    #[must_use]
    pub fn coil_changes(&self) -> Vec<CoilChange> {
        self.state.coil_changes.borrow().clone()
    }

    /// Every write to a coil so far, in order: those that changed nothing too.
    #[must_use]
    pub fn writes(&self) -> Vec<CoilChange> {
        self.state.writes.borrow().clone()
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

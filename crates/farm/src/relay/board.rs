//! A running relay board.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use clock::{Clock, SystemClock};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::behaviour::RelayBehaviour;
use super::coil_change::CoilChange;
use super::coils::RelayState;
use super::serve::{bind, listener, serve};

/// A relay board; it runs until it is dropped.
pub struct RelayBoard {
    addr: SocketAddr,
    state: Arc<RelayState>,
    /// Bound but not listening: it reserves the port while the board refuses connections.
    _port: TcpSocket,
    _tasks: JoinSet<()>,
}

impl RelayBoard {
    /// Starts a relay board with `coils` coils, all off, at `listen`; port 0 selects a free port.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(listen: SocketAddr, coils: u16, behaviour: RelayBehaviour) -> io::Result<Self> {
        Self::start_with_clock(Arc::new(SystemClock), listen, coils, behaviour)
    }

    /// Starts a relay board like [`RelayBoard::start`], with the times of `clock`.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
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
        let state = Arc::new_cyclic(|this| RelayState {
            this: Weak::clone(this),
            clock,
            coils: (0..coils).map(|_| watch::Sender::new(false)).collect(),
            behaviour: watch::Sender::new(behaviour),
            unit: watch::Sender::new(None),
            coil_changes: watch::Sender::default(),
            writes: watch::Sender::default(),
            reverts: Mutex::default(),
            clients: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        // The first listener is created here, so that clients can connect as soon as this returns.
        let first = if behaviour == RelayBehaviour::Refusing { None } else { Some(listener(addr)?) };
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(addr, first, Arc::clone(&state)));
        Ok(Self { addr, state, _port: port, _tasks: tasks })
    }

    /// Returns the address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the wire at coil `coil`; a missing coil has a wire that stays off.
    #[must_use]
    pub fn coil(&self, coil: u16) -> watch::Receiver<bool> {
        let sender = self.state.coils.get(usize::from(coil));
        sender.map_or_else(|| watch::channel(false).1, watch::Sender::subscribe)
    }

    /// Switches a coil by hand; a missing coil is ignored.
    pub fn switch(&self, coil: u16, on: bool) {
        self.state.switch(coil, on);
    }

    /// Changes the behaviour from the next connection and request on.
    pub fn set_behaviour(&self, behaviour: RelayBehaviour) {
        self.state.behaviour.send_replace(behaviour);
    }

    /// Answers only requests for `unit`, like a gateway with one unit behind it; `None` answers all.
    pub fn set_unit(&self, unit: Option<u8>) {
        self.state.unit.send_replace(unit);
    }

    /// Returns all changes of coils so far, in order; a write of the current value is not a change.
    #[must_use]
    pub fn coil_changes(&self) -> Vec<CoilChange> {
        self.state.coil_changes.borrow().clone()
    }

    /// Returns all writes to coils so far, in order, including those that changed nothing.
    #[must_use]
    pub fn writes(&self) -> Vec<CoilChange> {
        self.state.writes.borrow().clone()
    }

    /// Returns the number of connected clients.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.state.clients.load(Ordering::SeqCst)
    }

    /// Returns the number of connections so far, including those closed at once.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

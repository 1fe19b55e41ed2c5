//! What a simulated relay board answers, and what its coils do.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_modbus::server::Service;
use tokio_modbus::{ExceptionCode, Request, Response, SlaveRequest};

use super::{Behaviour, Operation};
use crate::clock::Clock;

/// A relay board, as all its connections see it.
pub(super) struct State {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) coils: Vec<watch::Sender<bool>>,
    pub(super) behaviour: watch::Sender<Behaviour>,
    pub(super) unit: watch::Sender<Option<u8>>,
    pub(super) operations: watch::Sender<Vec<Operation>>,
    pub(super) clients: AtomicUsize,
    pub(super) connections: AtomicUsize,
}

/// Takes a connection, or closes it where another client is served and one is all that there may be.
pub(super) fn connected(stream: TcpStream, state: Arc<State>) -> Option<(Client, TcpStream)> {
    state.connections.fetch_add(1, Ordering::SeqCst);
    let before = state.clients.fetch_add(1, Ordering::SeqCst);
    let is_full = before > 0 && *state.behaviour.borrow() == Behaviour::OneClientAtATime;
    let client = Client { state };
    (!is_full).then_some((client, stream))
}

/// One connection; counted while it lasts.
pub(super) struct Client {
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

    pub(super) fn switch(&self, coil: u16, on: bool) {
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

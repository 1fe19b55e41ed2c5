//! What a simulated relay board answers, and what its coils do.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use clock::Clock;
use tokio::sync::watch;

use super::behaviour::Behaviour;
use super::frame::{Answer, Exception, Request};
use super::operation::Operation;

/// How many coils one request may read or write.
///
/// Source: Modbus Application Protocol 1.1b3, 6.1 and 6.11.
const MAX_READ: usize = 2000;
const MAX_WRITE: usize = 1968;

/// A relay board, as all its connections see it.
pub(super) struct State {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) coils: Vec<watch::Sender<bool>>,
    pub(super) behaviour: watch::Sender<Behaviour>,
    pub(super) unit: watch::Sender<Option<u8>>,
    pub(super) operations: watch::Sender<Vec<Operation>>,
    pub(super) writes: watch::Sender<Vec<Operation>>,
    pub(super) clients: AtomicUsize,
    pub(super) connections: AtomicUsize,
}

impl State {
    /// Does what is asked, as `behaviour` has it; gives nothing where it does not answer.
    pub(super) fn answer(
        &self,
        request: &Request,
        behaviour: Behaviour,
    ) -> Option<Result<Answer, Exception>> {
        if behaviour == Behaviour::Hanging {
            return None;
        }
        let answer = self.carry_out(request, behaviour);
        let is_silent = behaviour == Behaviour::Mute && !matches!(request, Request::ReadCoils { .. });
        if is_silent && answer.is_ok() { None } else { Some(answer) }
    }

    fn carry_out(&self, request: &Request, behaviour: Behaviour) -> Result<Answer, Exception> {
        match request {
            Request::ReadCoils { first, count } => {
                if let Behaviour::ReadsBanks { coils } = behaviour
                    && *count < coils
                {
                    return Err(Exception::DataValue);
                }
                let coils = self.range(*first, usize::from(*count), MAX_READ)?;
                Ok(Answer::Coils(coils.iter().map(|coil| *coil.borrow()).collect()))
            }
            Request::WriteCoil { coil, on } => {
                self.range(*coil, 1, 1)?;
                self.write(*coil, *on, behaviour);
                Ok(Answer::Echo)
            }
            Request::WriteCoils { first, values } => {
                self.range(*first, values.len(), MAX_WRITE)?;
                for (coil, on) in (*first..).zip(values) {
                    self.write(coil, *on, behaviour);
                }
                Ok(Answer::Echo)
            }
            Request::Unknown => Err(Exception::Function),
        }
    }

    fn range(&self, first: u16, count: usize, most: usize) -> Result<&[watch::Sender<bool>], Exception> {
        if count == 0 || count > most {
            return Err(Exception::DataValue);
        }
        let first = usize::from(first);
        self.coils.get(first..first + count).ok_or(Exception::DataAddress)
    }

    fn write(&self, coil: u16, on: bool, behaviour: Behaviour) {
        let at = self.clock.now();
        self.writes.send_modify(|writes| writes.push(Operation { at, coil, on }));
        if behaviour != (Behaviour::Lying { coil }) && behaviour != Behaviour::Stuck {
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

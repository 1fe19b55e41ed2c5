//! State of a simulated relay board: its coils and answers.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use clock::Clock;
use tokio::sync::watch;

use super::behaviour::RelayBehaviour;
use super::coil_change::CoilChange;
use super::frame::{RelayAnswer, RelayException, RelayRequest};

/// The largest number of coils in one request.
///
/// Source: Modbus Application Protocol 1.1b3, 6.1 and 6.11.
const MAX_READ_COILS: usize = 2000;
const MAX_WRITE_COILS: usize = 1968;

/// State of a relay board, shared by its connections.
pub(super) struct RelayState {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) coils: Vec<watch::Sender<bool>>,
    pub(super) behaviour: watch::Sender<RelayBehaviour>,
    pub(super) unit: watch::Sender<Option<u8>>,
    pub(super) coil_changes: watch::Sender<Vec<CoilChange>>,
    pub(super) writes: watch::Sender<Vec<CoilChange>>,
    pub(super) clients: AtomicUsize,
    pub(super) connections: AtomicUsize,
}

impl RelayState {
    /// Executes a request according to `behaviour`; returns `None` if it does not answer.
    pub(super) fn answer(
        &self,
        request: &RelayRequest,
        behaviour: RelayBehaviour,
    ) -> Option<Result<RelayAnswer, RelayException>> {
        if behaviour == RelayBehaviour::Hanging {
            return None;
        }
        let answer = self.execute(request, behaviour);
        let is_silent =
            behaviour == RelayBehaviour::Mute && !matches!(request, RelayRequest::ReadCoils { .. });
        if is_silent && answer.is_ok() { None } else { Some(answer) }
    }

    fn execute(
        &self,
        request: &RelayRequest,
        behaviour: RelayBehaviour,
    ) -> Result<RelayAnswer, RelayException> {
        match request {
            RelayRequest::ReadCoils { first, count } => {
                if let RelayBehaviour::ReadsBanks { coils } = behaviour
                    && *count < coils
                {
                    return Err(RelayException::DataValue);
                }
                let coils = self.range(*first, usize::from(*count), MAX_READ_COILS)?;
                Ok(RelayAnswer::Coils(coils.iter().map(|coil| *coil.borrow()).collect()))
            }
            RelayRequest::WriteCoil { coil, on } => {
                self.range(*coil, 1, 1)?;
                self.write(*coil, *on, behaviour);
                Ok(RelayAnswer::Echo)
            }
            RelayRequest::WriteCoils { first, values } => {
                self.range(*first, values.len(), MAX_WRITE_COILS)?;
                for (coil, on) in (*first..).zip(values) {
                    self.write(coil, *on, behaviour);
                }
                Ok(RelayAnswer::Echo)
            }
            RelayRequest::Unknown => Err(RelayException::Function),
        }
    }

    fn range(&self, first: u16, count: usize, max: usize) -> Result<&[watch::Sender<bool>], RelayException> {
        if count == 0 || count > max {
            return Err(RelayException::DataValue);
        }
        let first = usize::from(first);
        self.coils.get(first..first + count).ok_or(RelayException::DataAddress)
    }

    fn write(&self, coil: u16, on: bool, behaviour: RelayBehaviour) {
        let at = self.clock.now();
        self.writes.send_modify(|writes| writes.push(CoilChange { at, coil, is_on: on }));
        if behaviour != (RelayBehaviour::Lying { coil }) && behaviour != RelayBehaviour::Stuck {
            self.switch(coil, on);
        }
    }

    pub(super) fn switch(&self, coil: u16, on: bool) {
        let Some(wire) = self.coils.get(usize::from(coil)) else { return };
        // Recorded before the wire changes, in one step, so that a change seen on the wire is always recorded.
        self.coil_changes.send_if_modified(|changes| {
            let is_change = *wire.borrow() != on;
            if is_change {
                changes.push(CoilChange { at: self.clock.now(), coil, is_on: on });
                wire.send_replace(on);
            }
            is_change
        });
    }
}

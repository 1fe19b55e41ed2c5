//! State of a simulated relay board: its coils and answers.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use clock::Clock;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::behaviour::RelayBehaviour;
use super::coil_change::CoilChange;
use super::frame::{RelayAnswer, RelayException, RelayRequest};

/// The largest number of coils in one request.
///
/// Source: Modbus Application Protocol 1.1b3, 6.1 and 6.11.
const MAX_READ_COILS: usize = 2000;
const MAX_WRITE_COILS: usize = 1968;
/// Where the coils are that are switched for a time. Source: Waveshare, Modbus POE ETH Relay, Flash On and Flash Off.
const FLASH_ON: u16 = 0x0200;
const FLASH_OFF: u16 = 0x0400;

/// State of a relay board, shared by its connections.
pub(super) struct RelayState {
    /// Itself, for what it does later.
    pub(super) this: Weak<Self>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) coils: Vec<watch::Sender<bool>>,
    pub(super) behaviour: watch::Sender<RelayBehaviour>,
    pub(super) unit: watch::Sender<Option<u8>>,
    pub(super) coil_changes: watch::Sender<Vec<CoilChange>>,
    pub(super) writes: watch::Sender<Vec<CoilChange>>,
    /// Pending ends of timed switching.
    pub(super) reverts: Mutex<JoinSet<()>>,
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
            RelayRequest::Flash { address, tenths } if behaviour == RelayBehaviour::TimesCycles => {
                let is_on = *address < FLASH_OFF;
                let first = if is_on { FLASH_ON } else { FLASH_OFF };
                let coil = address.checked_sub(first).ok_or(RelayException::DataAddress)?;
                self.range(coil, 1, 1)?;
                self.write(coil, is_on, behaviour);
                self.revert_after(coil, Duration::from_millis(100) * u32::from(*tenths));
                Ok(RelayAnswer::Echo)
            }
            RelayRequest::Flash { .. } => Err(RelayException::DataValue),
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

    /// Reverts the last write to a coil after `span`, unless there is another one before.
    fn revert_after(&self, coil: u16, span: Duration) {
        let (this, clock) = (Weak::clone(&self.this), Arc::clone(&self.clock));
        let writes = self.writes_to(coil);
        let is_on = *self.coils[usize::from(coil)].borrow();
        let mut reverts = self.reverts.lock().unwrap_or_else(PoisonError::into_inner);
        while reverts.try_join_next().is_some() {}
        reverts.spawn(async move {
            clock.sleep(span).await;
            if let Some(state) = this.upgrade().filter(|state| state.writes_to(coil) == writes) {
                state.switch(coil, !is_on);
            }
        });
    }

    fn writes_to(&self, coil: u16) -> usize {
        self.writes.borrow().iter().filter(|write| write.coil == coil).count()
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

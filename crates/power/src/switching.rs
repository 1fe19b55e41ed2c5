//! How an outlet is brought to be on or off: set, read back, and set again only if it must be.
//!
//! Each fresh connection begins with the write, until one has been answered: a device may close after one answer, and a
//! reading that fails keeps no board dark.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::{Outlet, OutletCapabilities, PowerState, Readback};

/// The longest that looking, or bringing the power to on or to off, may take, all connections included.
pub(crate) const PHASE_TIMEOUT: Duration = Duration::from_secs(15);
/// How often one phase is tried: a device that serves another client refuses the first connection.
pub(crate) const PHASE_TRIES: u32 = 3;
/// How long to wait before the second try; before each further one that much longer.
const BACK_OFF: Duration = Duration::from_millis(250);
/// The longest from one try to the next.
const MAX_BACK_OFF: Duration = Duration::from_secs(1);

/// How the power is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PowerOffMode {
    /// Until it is given back.
    UntilSwitchedOn,
    /// By a device that gives it back by itself after this time.
    TimedByDevice(Duration),
}

/// One run at one outlet, and what it has seen so far.
pub(crate) struct SwitchingRun {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) outlet: Box<dyn Outlet>,
    pub(crate) capabilities: OutletCapabilities,
    pub(crate) off_mode: PowerOffMode,
    /// What was read last, unless something was written since.
    pub(crate) observed: Option<PowerState>,
    /// The device's words for that.
    pub(crate) observed_answer: Option<String>,
    /// The device's last words of any kind.
    pub(crate) last_answer: Option<String>,
    /// When the power was first seen to be off.
    pub(crate) off_at: Option<DateTime<Utc>>,
    /// When the power was last seen to be on.
    pub(crate) on_at: Option<DateTime<Utc>>,
    /// Whether something was written in this run that may have been carried out.
    pub(crate) has_written: bool,
    /// Whether runs before this one may have written something.
    pub(crate) is_resumed: bool,
    /// Whether the power may be off and could not be given back.
    pub(crate) is_unrestored: bool,
}

impl SwitchingRun {
    /// Begins a run at `outlet`.
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        outlet: Box<dyn Outlet>,
        capabilities: OutletCapabilities,
    ) -> Self {
        Self {
            clock,
            outlet,
            capabilities,
            off_mode: PowerOffMode::UntilSwitchedOn,
            observed: None,
            observed_answer: None,
            last_answer: None,
            off_at: None,
            on_at: None,
            has_written: false,
            is_resumed: false,
            is_unrestored: false,
        }
    }

    /// Whether the outlet can be read.
    pub(crate) fn can_read(&self) -> bool {
        self.capabilities.readback != Readback::None
    }

    /// Whether the power may have been taken away.
    pub(crate) fn may_be_off(&self) -> bool {
        self.has_written || self.is_resumed
    }

    /// Reads the outlet, where it can be read.
    pub(crate) async fn read_state(&mut self, cancel: &CancellationToken) -> Result<(), OutletError> {
        if self.can_read() { self.within_phase(None, PHASE_TRIES, cancel).await } else { Ok(()) }
    }

    /// Brings the power to `want` and sees it there.
    ///
    /// Cancelled, it neither connects nor writes again, but a write that was sent is still read back.
    pub(crate) async fn switch_to(
        &mut self,
        want: PowerState,
        tries: u32,
        cancel: &CancellationToken,
    ) -> Result<(), OutletError> {
        self.within_phase(Some(want), tries, cancel).await
    }

    async fn within_phase(
        &mut self,
        want: Option<PowerState>,
        tries: u32,
        cancel: &CancellationToken,
    ) -> Result<(), OutletError> {
        let (clock, mut last) = (Arc::clone(&self.clock), None);
        let ended = clock.timeout(PHASE_TIMEOUT, self.repeat(want, tries, cancel, &mut last)).await;
        ended.unwrap_or_else(|| {
            let late = || {
                OutletError::new(
                    OutletErrorKind::ConnectionLost,
                    format!("not done within {}", formatting::duration(PHASE_TIMEOUT)),
                )
            };
            Err(last.unwrap_or_else(late))
        })
    }

    async fn repeat(
        &mut self,
        want: Option<PowerState>,
        tries: u32,
        cancel: &CancellationToken,
        last: &mut Option<OutletError>,
    ) -> Result<(), OutletError> {
        let mut is_accepted = false;
        for attempt in 0..tries {
            let tried = async {
                self.clock.sleep((BACK_OFF * attempt).min(MAX_BACK_OFF)).await;
                self.outlet.connect().await
            };
            let connected = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    return Err(last.take().map_or_else(OutletError::cancelled, OutletError::then_cancelled));
                }
                connected = tried => connected,
            };
            let ended = match connected {
                Ok(()) => self.attempt(want, &mut is_accepted).await,
                Err(fault) => Err(fault),
            };
            match ended {
                Ok(()) => return Ok(()),
                Err(fault) if fault.kind == OutletErrorKind::LeaseExpired => return Err(fault),
                // What must be given back is tried for, whatever the device says.
                Err(fault) if fault.kind == OutletErrorKind::Misconfigured && !self.may_be_off() => {
                    return Err(fault);
                }
                Err(fault) => *last = Some(fault),
            }
        }
        Err(last.take().unwrap_or_else(OutletError::cancelled))
    }

    /// Tries once: writes, unless a write was answered and is to be read back, and reads.
    async fn attempt(&mut self, want: Option<PowerState>, is_accepted: &mut bool) -> Result<(), OutletError> {
        let was_accepted = *is_accepted;
        let mut unanswered = None;
        if let Some(want) = want.filter(|_| !was_accepted) {
            match self.write(want).await {
                Ok(()) => *is_accepted = true,
                // On the same connection, lest a fresh one begins without the write.
                Err(fault) if fault.kind == OutletErrorKind::AnswerPending => unanswered = Some(fault),
                Err(fault) => {
                    *is_accepted = fault.kind == OutletErrorKind::Unconfirmed && self.can_read();
                    return Err(fault);
                }
            }
        }
        if !self.can_read() {
            return unanswered.map_or(Ok(()), Err);
        }
        match (self.read().await, want) {
            (Ok(seen), Some(want)) if seen != want => {
                *is_accepted = false;
                let reason =
                    format!("the power was switched {} and still reads {}", want.name(), seen.name());
                Err(unanswered.unwrap_or_else(|| OutletError::new(OutletErrorKind::ReadbackDiffers, reason)))
            }
            (Ok(_), _) => Ok(()),
            (Err(fault), _) => {
                // It was read on a connection of its own: the next begins with the write again.
                *is_accepted &= !was_accepted;
                Err(unanswered.unwrap_or(fault))
            }
        }
    }

    async fn write(&mut self, want: PowerState) -> Result<(), OutletError> {
        let before = (self.observed.take(), self.has_written);
        // Said before it is so: whoever drops this call cannot know how far it came.
        self.has_written = true;
        let written = match (want, self.off_mode) {
            (PowerState::Off, PowerOffMode::TimedByDevice(off_for)) => self.outlet.cycle(off_for).await,
            (PowerState::On | PowerState::Off, PowerOffMode::UntilSwitchedOn)
            | (PowerState::On, PowerOffMode::TimedByDevice(_)) => self.outlet.set(want).await,
        };
        if written.as_ref().is_err_and(|fault| !fault.may_have_switched()) {
            (self.observed, self.has_written) = before;
        }
        written.map_err(|fault| self.record_answer(fault))
    }

    async fn read(&mut self) -> Result<PowerState, OutletError> {
        let reading = self.outlet.read().await.map_err(|fault| self.record_answer(fault))?;
        self.observed = reading.power_state;
        self.last_answer = reading.answer.clone().or(self.last_answer.take());
        self.observed_answer = reading.answer;
        match reading.power_state {
            Some(PowerState::Off) => self.off_at = self.off_at.or(Some(self.clock.now())),
            Some(PowerState::On) => self.on_at = Some(self.clock.now()),
            None => {}
        }
        reading.power_state.ok_or_else(|| {
            OutletError::new(OutletErrorKind::Unconfirmed, "what was read is neither on nor off")
        })
    }

    /// Keeps what the device said.
    fn record_answer(&mut self, fault: OutletError) -> OutletError {
        self.last_answer = fault.answer.clone().or(self.last_answer.take());
        fault
    }
}

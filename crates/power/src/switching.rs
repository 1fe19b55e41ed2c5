//! Switches an outlet on or off: set, read back, and set again only if needed.
//!
//! Each new connection begins with the write until one write was answered: a device may close the connection after one
//! answer, and a failing read must not keep a board without power.
//!
//! A cycle that the device times is requested once. It is requested again only if a reading within the off time proves
//! that it did not begin.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::{Clock, time_after};
use tokio_util::sync::CancellationToken;

use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::{Outlet, OutletCapabilities, PowerState, Readback};
use crate::pending_order::PendingOrder;

/// Timeout of one phase (reading, switching on or switching off), all connections included, without the time that the
/// device needs until a reading shows an order.
pub(crate) const PHASE_TIMEOUT: Duration = Duration::from_secs(15);
/// Tries per phase: a device that serves another client refuses the first connection.
pub(crate) const PHASE_TRIES: u32 = 3;
/// Delay before the second try; each further delay is longer by the same amount.
const BACK_OFF: Duration = Duration::from_millis(250);
/// The longest delay between two tries.
const MAX_BACK_OFF: Duration = Duration::from_secs(1);

/// How the power is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PowerOffMode {
    /// Until it is switched on.
    UntilSwitchedOn,
    /// By a device that restores it by itself after this time.
    TimedByDevice(Duration),
}

/// One run at one outlet, with its observations so far.
pub(crate) struct SwitchingRun {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) outlet: Box<dyn Outlet>,
    pub(crate) capabilities: OutletCapabilities,
    pub(crate) off_mode: PowerOffMode,
    /// When a cycle timed by the device was requested, if the device may have begun it.
    cycle_requested_at: Option<DateTime<Utc>>,
    /// The last order, if the device may need time for it.
    pub(crate) pending: Option<PendingOrder>,
    /// The state read last; `None` after a write until the next read.
    pub(crate) observed: Option<PowerState>,
    /// The device's answer to that read.
    pub(crate) observed_answer: Option<String>,
    /// The device's last answer of any kind.
    pub(crate) last_answer: Option<String>,
    /// When the power was first read to be off.
    pub(crate) off_at: Option<DateTime<Utc>>,
    /// When the power was last read to be on.
    pub(crate) on_at: Option<DateTime<Utc>>,
    /// Whether this run may have switched the outlet.
    pub(crate) has_written: bool,
    /// Whether earlier runs may have switched the outlet.
    pub(crate) is_resumed: bool,
    /// Whether the power may be off and could not be restored.
    pub(crate) is_unrestored: bool,
    /// When failed tries are no longer repeated, however many are left.
    pub(crate) retry_until: Option<DateTime<Utc>>,
}

impl SwitchingRun {
    /// Creates a run at `outlet`.
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
            cycle_requested_at: None,
            pending: None,
            observed: None,
            observed_answer: None,
            last_answer: None,
            off_at: None,
            on_at: None,
            has_written: false,
            is_resumed: false,
            is_unrestored: false,
            retry_until: None,
        }
    }

    /// Whether the outlet can be read.
    pub(crate) fn can_read(&self) -> bool {
        self.capabilities.readback != Readback::None
    }

    /// Whether the power may be off because of this run or an earlier one.
    pub(crate) fn may_be_off(&self) -> bool {
        self.has_written || self.is_resumed
    }

    /// Reads the outlet if it can be read.
    pub(crate) async fn read_state(&mut self, cancel: &CancellationToken) -> Result<(), OutletError> {
        if self.can_read() { self.observe(cancel).await } else { Ok(()) }
    }

    /// Connects, and reads the outlet if it can be read.
    pub(crate) async fn observe(&mut self, cancel: &CancellationToken) -> Result<(), OutletError> {
        self.within_phase(None, PHASE_TRIES, cancel).await
    }

    /// Reads the outlet, which can be read, by one try.
    pub(crate) async fn read_once(&mut self, cancel: &CancellationToken) -> Result<(), OutletError> {
        self.within_phase(None, 1, cancel).await
    }

    /// Switches the power to `target` and reads it back.
    ///
    /// After cancellation it neither connects nor writes again; a write already sent is still read back.
    pub(crate) async fn switch_to(
        &mut self,
        target: PowerState,
        tries: u32,
        cancel: &CancellationToken,
    ) -> Result<(), OutletError> {
        self.await_opposite_effect(target, cancel).await;
        self.within_phase(Some(target), tries, cancel).await
    }

    async fn within_phase(
        &mut self,
        target: Option<PowerState>,
        tries: u32,
        cancel: &CancellationToken,
    ) -> Result<(), OutletError> {
        let (clock, mut last) = (Arc::clone(&self.clock), None);
        let effect_within = target.map_or(Duration::ZERO, |_| self.capabilities.effect_within);
        let limit = PHASE_TIMEOUT + effect_within;
        let result = clock.timeout(limit, self.repeat(target, tries, cancel, &mut last)).await;
        result.unwrap_or_else(|| {
            let timed_out = || {
                OutletError::new(
                    OutletErrorKind::ConnectionLost,
                    format!("timed out after {}", formatting::duration(limit)),
                )
            };
            Err(last.unwrap_or_else(timed_out))
        })
    }

    async fn repeat(
        &mut self,
        target: Option<PowerState>,
        tries: u32,
        cancel: &CancellationToken,
        last: &mut Option<OutletError>,
    ) -> Result<(), OutletError> {
        let mut is_accepted = false;
        for attempt in 0..tries {
            let connecting = async {
                self.clock.sleep((BACK_OFF * attempt).min(MAX_BACK_OFF)).await;
                self.outlet.connect().await
            };
            let connected = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    return Err(last.take().map_or_else(OutletError::cancelled, OutletError::then_cancelled));
                }
                connected = connecting => connected,
            };
            let result = match connected {
                Ok(()) => self.attempt(target, &mut is_accepted).await,
                Err(error) => Err(self.record_answer(error)),
            };
            match result {
                Ok(()) => return Ok(()),
                Err(error) if error.kind == OutletErrorKind::LeaseExpired => return Err(error),
                // Restoring the power is retried even if the device refuses.
                Err(error) if error.kind == OutletErrorKind::Misconfigured && !self.may_be_off() => {
                    return Err(error);
                }
                Err(error) if self.retry_until.is_some_and(|until| self.clock.now() >= until) => {
                    return Err(error);
                }
                Err(error) => *last = Some(error),
            }
        }
        Err(last.take().unwrap_or_else(OutletError::cancelled))
    }

    /// Tries once: writes, unless an earlier write was answered, and reads back.
    async fn attempt(
        &mut self,
        target: Option<PowerState>,
        is_accepted: &mut bool,
    ) -> Result<(), OutletError> {
        if target == Some(PowerState::Off)
            && let Some(requested_at) = self.cycle_requested_at
            && !self.has_ignored_cycle(requested_at).await?
        {
            return Ok(());
        }
        let was_accepted = *is_accepted;
        let mut unanswered = None;
        if let Some(target) = target.filter(|_| !was_accepted) {
            match self.write(target).await {
                Ok(()) => *is_accepted = true,
                // Read back on the same connection; a new one would begin with the write.
                Err(error) if error.kind == OutletErrorKind::AnswerPending => unanswered = Some(error),
                Err(error) if self.is_effect_due(target) => unanswered = Some(error),
                // Some devices refuse an order for the state that they have.
                Err(error) if error.kind == OutletErrorKind::Refused && self.observed == Some(target) => {
                    return Ok(());
                }
                Err(error) => {
                    *is_accepted = error.kind == OutletErrorKind::Unconfirmed && self.can_read();
                    return Err(error);
                }
            }
        }
        if !self.can_read() {
            return unanswered.map_or(Ok(()), Err);
        }
        match (self.read_back(target).await, target) {
            (Ok(observed), Some(target)) if observed != target => {
                *is_accepted = false;
                if let Some(requested_at) = self.cycle_requested_at
                    && target == PowerState::Off
                    && !self.is_off_time(requested_at)
                {
                    return Err(unobserved_cycle());
                }
                let reason =
                    format!("the power was switched {} and still reads {}", target.name(), observed.name());
                Err(unanswered.unwrap_or_else(|| OutletError::new(OutletErrorKind::ReadbackDiffers, reason)))
            }
            (Ok(_), _) => Ok(()),
            (Err(error), _) => {
                // If this connection was used for the read only, the next one begins with the write again.
                *is_accepted &= !was_accepted;
                Err(unanswered.unwrap_or(error))
            }
        }
    }

    /// Whether a reading proves that the device did not begin the cycle requested then; `false` if the power is off.
    async fn has_ignored_cycle(&mut self, requested_at: DateTime<Utc>) -> Result<bool, OutletError> {
        if !self.can_read() {
            return Err(unobserved_cycle());
        }
        match self.read().await? {
            PowerState::Off => Ok(false),
            PowerState::On if self.is_off_time(requested_at) => Ok(true),
            PowerState::On => Err(unobserved_cycle()),
        }
    }

    /// Whether a cycle requested then would still keep the power off.
    fn is_off_time(&self, requested_at: DateTime<Utc>) -> bool {
        match self.off_mode {
            PowerOffMode::TimedByDevice(off_for) => self.clock.now() < time_after(requested_at, off_for),
            PowerOffMode::UntilSwitchedOn => false,
        }
    }

    async fn write(&mut self, target: PowerState) -> Result<(), OutletError> {
        let before = (self.observed.take(), self.has_written);
        // Set before the write: if this call is dropped, its progress is unknown.
        self.has_written = true;
        let written = match (target, self.off_mode) {
            (PowerState::Off, PowerOffMode::TimedByDevice(off_for)) => {
                self.cycle_requested_at = Some(self.clock.now());
                self.outlet.cycle(off_for).await
            }
            (PowerState::On | PowerState::Off, PowerOffMode::UntilSwitchedOn)
            | (PowerState::On, PowerOffMode::TimedByDevice(_)) => self.outlet.set(target).await,
        };
        if written.as_ref().is_err_and(|error| !error.may_have_switched()) {
            (self.observed, self.has_written) = before;
            self.cycle_requested_at = None;
        } else {
            self.expect_effect(target);
        }
        written.map_err(|error| self.record_answer(error))
    }

    pub(crate) async fn read(&mut self) -> Result<PowerState, OutletError> {
        let reading = self.outlet.read().await.map_err(|error| self.record_answer(error))?;
        self.observed = reading.power_state;
        self.last_answer = reading.answer.clone().or(self.last_answer.take());
        self.observed_answer = reading.answer;
        self.pending = self.pending.filter(|pending| Some(pending.state) != reading.power_state);
        match reading.power_state {
            // A reading from before the outlet was switched off does not end its off time.
            Some(PowerState::Off) if self.off_at.is_none() => {
                (self.off_at, self.on_at) = (Some(self.clock.now()), None);
            }
            Some(PowerState::On) => self.on_at = Some(self.clock.now()),
            Some(PowerState::Off) | None => {}
        }
        reading.power_state.ok_or_else(|| {
            OutletError::new(OutletErrorKind::Unconfirmed, "the outlet reads neither on nor off")
        })
    }

    /// Records the device's answer.
    pub(crate) fn record_answer(&mut self, error: OutletError) -> OutletError {
        self.last_answer = error.answer.clone().or(self.last_answer.take());
        error
    }
}

/// The error where a cycle was requested from the device and the power was not read off during it.
fn unobserved_cycle() -> OutletError {
    let reason = "the device was ordered to cycle the power, but the power was not read off meanwhile";
    OutletError::new(OutletErrorKind::Unconfirmed, reason)
}

//! Operations at an outlet: on, off, and a cycle.
//!
//! ```text
//! cycle:  look ─ refused, unread ─▶ failed, nothing was written
//!          │ read
//!          ▼
//!         off ─▶ wait `off=` ─▶ on ─▶ ok      from the first write on, whatever fails: the power is given back
//! ```
//!
//! The power is taken away only where it was seen that the outlet can be read. Where the device times a cycle by itself, `off`
//! has it do so, and `on` is read first and set only where it is not so.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::{CycleTiming, PowerState};
use crate::switching::{PHASE_TRIES, PowerOffMode, SwitchingRun};

/// How often taking the power away is tried in a cycle: the board may be dark already.
const OFF_TRIES: u32 = 2;
/// How often giving the power back is tried, one try after the other: the board is dark until one succeeds.
const RESTORE_TRIES: u32 = 12;
/// How often a cycle that was interrupted is resumed; then it only gives the power back.
const MAX_RESUMES: u32 = 2;

impl SwitchingRun {
    /// Takes the power away for `off_for` and gives it back; ends with the power given back whatever happened, unless
    /// nothing was written at all or the device can no longer be reached.
    ///
    /// `interrupted` is how many runs before this one were not seen to end. Where the power is off after one, it is not
    /// taken away again.
    pub(crate) async fn cycle(
        &mut self,
        off_for: Duration,
        interrupted: u32,
        cancel: &CancellationToken,
    ) -> Result<(), OutletError> {
        self.is_resumed = interrupted > 0;
        if interrupted > MAX_RESUMES {
            self.restore_power().await?;
            let reason = format!(
                "interrupted {}: the power was given back and not taken away again",
                formatting::count(interrupted, "time")
            );
            return Err(OutletError::new(OutletErrorKind::Interrupted, reason));
        }
        let cut = match self.read_state(cancel).await {
            Err(fault) => {
                if interrupted == 0 && fault.kind == OutletErrorKind::ConnectionLost && !cancel.is_cancelled()
                {
                    // A device that takes writes and answers no reading may have left the board dark before.
                    // How this ends changes nothing: the reading has failed.
                    let _ = self.switch_to(PowerState::On, 1, &CancellationToken::new()).await;
                    return Err(fault);
                }
                Err(fault)
            }
            Ok(()) if interrupted > 0 && self.observed == Some(PowerState::Off) => Ok(()),
            Ok(()) => {
                self.off_mode = self.off_mode_for(off_for);
                self.switch_to(PowerState::Off, OFF_TRIES, cancel).await
            }
        };
        let is_expired = cut.as_ref().is_err_and(|fault| fault.kind == OutletErrorKind::LeaseExpired);
        if !self.may_be_off() || is_expired {
            self.is_unrestored = self.may_be_off();
            return cut;
        }
        // Whatever failed: the power may be off, and is so for as long as the board needs.
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = self.clock.sleep(off_for) => {}
        }
        if !self.is_restored(&cut, cancel).await {
            self.restore_power().await?;
        }
        if cut.is_ok() && cancel.is_cancelled() { Err(OutletError::cancelled()) } else { cut }
    }

    /// Who is to time a cycle with this off time.
    fn off_mode_for(&self, off_for: Duration) -> PowerOffMode {
        match self.capabilities.cycle_timing {
            CycleTiming::Device { shortest, longest } if (shortest..=longest).contains(&off_for) => {
                PowerOffMode::TimedByDevice(off_for)
            }
            CycleTiming::Device { .. } | CycleTiming::Caller => PowerOffMode::UntilSwitchedOn,
        }
    }

    /// Whether a device that timed the cycle is seen to have given the power back.
    async fn is_restored(&mut self, cut: &Result<(), OutletError>, cancel: &CancellationToken) -> bool {
        if self.off_mode == PowerOffMode::UntilSwitchedOn
            || cut.is_err()
            || cancel.is_cancelled()
            || !self.can_read()
        {
            return false;
        }
        self.read_state(&CancellationToken::new()).await.is_ok() && self.observed == Some(PowerState::On)
    }

    /// Gives the power back. Cancelling does not change that: a board is never left dark.
    async fn restore_power(&mut self) -> Result<(), OutletError> {
        self.switch_to(PowerState::On, RESTORE_TRIES, &CancellationToken::new()).await.map_err(|fault| {
            self.is_unrestored = true;
            let reason = format!("the board may be without power: {}", fault.reason);
            OutletError { reason, ..fault }
        })
    }

    /// Takes the power away where the outlet can be read.
    pub(crate) async fn switch_off(&mut self, cancel: &CancellationToken) -> Result<(), OutletError> {
        self.read_state(cancel).await?;
        self.switch_to(PowerState::Off, PHASE_TRIES, cancel).await
    }

    /// Gives power.
    pub(crate) async fn switch_on(&mut self, cancel: &CancellationToken) -> Result<(), OutletError> {
        self.switch_to(PowerState::On, PHASE_TRIES, cancel).await
    }
}

#[cfg(test)]
mod tests;

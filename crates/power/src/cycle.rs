//! Operations on an outlet: on, off, and power cycle.
//!
//! ```text
//! cycle:  read ─ refused, unreadable ─▶ failed, nothing was written
//!          │
//!          ▼
//!         off ─▶ wait `off=` ─▶ on ─▶ ok      after the first write, the power is always restored
//! ```
//!
//! The power is switched off only after the outlet was read successfully. Where the device times the cycle, `off`
//! starts the device's own cycle; afterwards the outlet is read, and switched on only if it is not on.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::{CycleTiming, PowerState};
use crate::switching::{PHASE_TRIES, PowerOffMode, SwitchingRun};

/// Tries to switch off in a cycle: the board may be without power already.
const OFF_TRIES: u32 = 2;
/// Tries to restore the power: the board is without power until one succeeds.
const RESTORE_TRIES: u32 = 12;
/// How often an interrupted cycle is resumed; after that it only restores the power.
const MAX_RESUMES: u32 = 2;

impl SwitchingRun {
    /// Switches the power off for `off_for` and restores it. The power is restored in every case, unless nothing was
    /// written or the device cannot be reached any more.
    ///
    /// `interrupted_runs` counts earlier runs that did not finish. If the power is off after such a run, it is not
    /// switched off again.
    pub(crate) async fn cycle(
        &mut self,
        off_for: Duration,
        interrupted_runs: u32,
        cancel: &CancellationToken,
    ) -> Result<(), OutletError> {
        self.is_resumed = interrupted_runs > 0;
        if interrupted_runs > MAX_RESUMES {
            self.restore_power().await?;
            let reason = format!(
                "power cycle interrupted {}: power restored, not cycled again",
                formatting::count(interrupted_runs, "time")
            );
            return Err(OutletError::new(OutletErrorKind::Interrupted, reason));
        }
        let switched_off = match self.read_state(cancel).await {
            Err(error) => {
                if interrupted_runs == 0
                    && error.kind == OutletErrorKind::ConnectionLost
                    && !cancel.is_cancelled()
                {
                    // A device that accepts writes but answers no reads may have left the board without power earlier.
                    // The result is ignored: the read has failed.
                    let _ = self.switch_to(PowerState::On, 1, &CancellationToken::new()).await;
                    return Err(error);
                }
                Err(error)
            }
            Ok(()) if interrupted_runs > 0 && self.observed == Some(PowerState::Off) => Ok(()),
            Ok(()) => {
                self.off_mode = self.off_mode_for(off_for);
                self.switch_to(PowerState::Off, OFF_TRIES, cancel).await
            }
        };
        let is_expired =
            switched_off.as_ref().is_err_and(|error| error.kind == OutletErrorKind::LeaseExpired);
        if !self.may_be_off() || is_expired {
            self.is_unrestored = self.may_be_off();
            return switched_off;
        }
        // The power may be off even if switching failed, so the off time is always kept.
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = self.clock.sleep(off_for) => {}
        }
        if !self.is_restored(&switched_off, cancel).await {
            self.restore_power().await?;
        }
        if switched_off.is_ok() && cancel.is_cancelled() {
            Err(OutletError::cancelled())
        } else {
            switched_off
        }
    }

    /// Returns who times a cycle with this off time.
    fn off_mode_for(&self, off_for: Duration) -> PowerOffMode {
        match self.capabilities.cycle_timing {
            CycleTiming::Device { shortest, longest } if (shortest..=longest).contains(&off_for) => {
                PowerOffMode::TimedByDevice(off_for)
            }
            CycleTiming::Device { .. } | CycleTiming::Caller => PowerOffMode::UntilSwitchedOn,
        }
    }

    /// Whether a device that timed the cycle was read to be on again.
    async fn is_restored(
        &mut self,
        switched_off: &Result<(), OutletError>,
        cancel: &CancellationToken,
    ) -> bool {
        if self.off_mode == PowerOffMode::UntilSwitchedOn
            || switched_off.is_err()
            || cancel.is_cancelled()
            || !self.can_read()
        {
            return false;
        }
        self.read_state(&CancellationToken::new()).await.is_ok() && self.observed == Some(PowerState::On)
    }

    /// Restores the power. It cannot be cancelled: a board is never left without power.
    async fn restore_power(&mut self) -> Result<(), OutletError> {
        self.switch_to(PowerState::On, RESTORE_TRIES, &CancellationToken::new()).await.map_err(|error| {
            self.is_unrestored = true;
            let reason = format!("cannot restore power: {}", error.reason);
            OutletError { reason, ..error }
        })
    }

    /// Switches off, after the outlet was read.
    pub(crate) async fn switch_off(&mut self, cancel: &CancellationToken) -> Result<(), OutletError> {
        self.read_state(cancel).await?;
        self.switch_to(PowerState::Off, PHASE_TRIES, cancel).await
    }

    /// Switches on.
    pub(crate) async fn switch_on(&mut self, cancel: &CancellationToken) -> Result<(), OutletError> {
        self.switch_to(PowerState::On, PHASE_TRIES, cancel).await
    }
}

#[cfg(test)]
mod tests;

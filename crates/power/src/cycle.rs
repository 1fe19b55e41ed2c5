//! Operations on an outlet: on, off, and power cycle.
//!
//! ```text
//! cycle:  read ─ refused, unreadable ─▶ failed, nothing was written
//!          │
//!          ▼
//!         off ─▶ wait `off=` ─▶ on ─▶ ok      after the first write, the power is always restored
//! ```
//!
//! The power is switched off only after the outlet was read successfully. Where the device times the cycle, `off` is one
//! request that starts the device's own cycle; the outlet is read during the off time and after it, and switched on only
//! if it is not on then.

use std::time::Duration;

use clock::time_after;
use tokio_util::sync::CancellationToken;

use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::{CycleTiming, PowerState};
use crate::switching::{PHASE_TRIES, PowerOffMode, SwitchingRun};

/// Tries to switch off in a cycle: the board may be without power already.
const OFF_TRIES: u32 = 2;
/// Tries to restore the power: the board is without power until one succeeds.
const RESTORE_TRIES: u32 = 12;
/// How long after the off time a device that times a cycle may take to restore the power: it counts in steps of its own,
/// by its own clock.
const DEVICE_TOLERANCE: Duration = Duration::from_secs(2);
/// Time between two readings during that.
const RESTORE_POLL: Duration = Duration::from_millis(250);
/// How often an interrupted cycle is resumed; after that it only restores the power.
const MAX_RESUMES: u32 = 2;

impl SwitchingRun {
    /// Switches the power off for `off_for` and restores it. The power is restored in every case, unless nothing was
    /// written or the device cannot be reached any more.
    ///
    /// `interrupted_runs` counts earlier runs that did not finish. If the power is off after such a run, it is not
    /// switched off again. If it is on and the device times cycles, the cycle is not requested again: the device may have
    /// finished it meanwhile.
    pub(crate) async fn cycle(
        &mut self,
        off_for: Duration,
        interrupted_runs: u32,
        cancel: &CancellationToken,
    ) -> Result<(), OutletError> {
        self.is_resumed = interrupted_runs > 0;
        self.off_mode = self.off_mode_for(off_for);
        if interrupted_runs > MAX_RESUMES {
            self.restore_power().await?;
            return Err(interrupted(interrupted_runs, "power restored, not cycled again"));
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
            Ok(()) if interrupted_runs > 0 && self.off_mode != PowerOffMode::UntilSwitchedOn => {
                let outcome = "the power is on; the device may have cycled it, so it is not cycled again";
                return Err(interrupted(interrupted_runs, outcome));
            }
            Ok(()) => self.switch_to(PowerState::Off, OFF_TRIES, cancel).await,
        };
        let is_expired =
            switched_off.as_ref().is_err_and(|error| error.kind == OutletErrorKind::LeaseExpired);
        // An outlet that was off already and refused the order is off, although nothing was switched.
        let is_off = self.may_be_off() || switched_off.is_ok();
        if !is_off || is_expired {
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

    /// Whether a device that timed the cycle is read to be on again, within its tolerance.
    async fn is_restored(
        &mut self,
        switched_off: &Result<(), OutletError>,
        cancel: &CancellationToken,
    ) -> bool {
        if self.off_mode == PowerOffMode::UntilSwitchedOn || switched_off.is_err() || !self.can_read() {
            return false;
        }
        let deadline = time_after(self.clock.now(), DEVICE_TOLERANCE);
        while !cancel.is_cancelled() {
            match self.read_state(cancel).await {
                Ok(()) if self.observed == Some(PowerState::On) => return true,
                Ok(()) if self.clock.now() < deadline => self.clock.sleep(RESTORE_POLL).await,
                Ok(()) | Err(_) => return false,
            }
        }
        false
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

/// The error of a cycle that is not cycled again after interrupted runs.
fn interrupted(runs: u32, outcome: &str) -> OutletError {
    let reason = format!("power cycle interrupted {}: {outcome}", formatting::count(runs, "time"));
    OutletError::new(OutletErrorKind::Interrupted, reason)
}

#[cfg(test)]
mod tests;

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

use crate::fault::{Fault, FaultKind};
use crate::outlet::{CycleTiming, Supply};
use crate::switching::{Cut, Switching, TRIES};

/// How often taking the power away is tried in a cycle: the board may be dark already.
const OFF_TRIES: u32 = 2;
/// How often giving the power back is tried, one try after the other: the board is dark until one succeeds.
const GIVE_TRIES: u32 = 12;
/// How often a cycle that was interrupted is resumed; then it only gives the power back.
const MAX_RESUMED: u32 = 2;

impl Switching {
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
    ) -> Result<(), Fault> {
        self.is_resumed = interrupted > 0;
        if interrupted > MAX_RESUMED {
            self.restore().await?;
            let reason =
                format!("interrupted {interrupted} times: the power was given back and not taken away again");
            return Err(Fault::new(FaultKind::Interrupted, reason));
        }
        let cut = match self.look(cancel).await {
            Err(fault) => {
                if interrupted == 0 && fault.kind == FaultKind::Lost && !cancel.is_cancelled() {
                    // A device that takes writes and answers no reading may have left the board dark before.
                    // How this ends changes nothing: the reading has failed.
                    let _ = self.bring(Supply::On, 1, &CancellationToken::new()).await;
                    return Err(fault);
                }
                Err(fault)
            }
            Ok(()) if interrupted > 0 && self.observed == Some(Supply::Off) => Ok(()),
            Ok(()) => {
                self.cut = self.cut_for(off_for);
                self.bring(Supply::Off, OFF_TRIES, cancel).await
            }
        };
        let is_expired = cut.as_ref().is_err_and(|fault| fault.kind == FaultKind::Expired);
        if !self.may_be_off() || is_expired {
            self.is_dark = self.may_be_off();
            return cut;
        }
        // Whatever failed: the power may be off, and is so for as long as the board needs.
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = self.clock.sleep(off_for) => {}
        }
        if !self.is_given_back(&cut, cancel).await {
            self.restore().await?;
        }
        if cut.is_ok() && cancel.is_cancelled() { Err(Fault::abandoned()) } else { cut }
    }

    /// Who is to time a cycle with this off time.
    fn cut_for(&self, off_for: Duration) -> Cut {
        match self.capabilities.cycle {
            CycleTiming::Device { shortest, longest } if (shortest..=longest).contains(&off_for) => {
                Cut::Timed(off_for)
            }
            CycleTiming::Device { .. } | CycleTiming::Caller => Cut::Plain,
        }
    }

    /// Whether a device that timed the cycle is seen to have given the power back.
    async fn is_given_back(&mut self, cut: &Result<(), Fault>, cancel: &CancellationToken) -> bool {
        if self.cut == Cut::Plain || cut.is_err() || cancel.is_cancelled() || !self.can_read() {
            return false;
        }
        self.look(&CancellationToken::new()).await.is_ok() && self.observed == Some(Supply::On)
    }

    /// Gives the power back. Cancelling does not change that: a board is never left dark.
    async fn restore(&mut self) -> Result<(), Fault> {
        self.bring(Supply::On, GIVE_TRIES, &CancellationToken::new()).await.map_err(|fault| {
            self.is_dark = true;
            let reason = format!("the board may be without power: {}", fault.reason);
            Fault { reason, ..fault }
        })
    }

    /// Takes the power away where the outlet can be read.
    pub(crate) async fn cut(&mut self, cancel: &CancellationToken) -> Result<(), Fault> {
        self.look(cancel).await?;
        self.bring(Supply::Off, TRIES, cancel).await
    }

    /// Gives power.
    pub(crate) async fn give(&mut self, cancel: &CancellationToken) -> Result<(), Fault> {
        self.bring(Supply::On, TRIES, cancel).await
    }
}

#[cfg(test)]
mod tests;

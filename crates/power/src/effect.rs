//! Orders that need time until a reading shows them (`OutletCapabilities::effect_within`).
//!
//! Until then the outlet is read again, the order is not repeated, and an opposite order is not sent: a reading would not
//! tell which of the two it shows.

use std::sync::Arc;
use std::time::Duration;

use clock::time_after;
use tokio_util::sync::CancellationToken;

use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::PowerState;
use crate::pending_order::PendingOrder;
use crate::switching::SwitchingRun;

/// Time between two readings until one shows the order, at most.
const MAX_EFFECT_POLL: Duration = Duration::from_secs(1);
/// How many readings the time that an order needs is worth, at least.
const MIN_EFFECT_READINGS: u32 = 8;

impl SwitchingRun {
    /// Expects that an earlier run, which was interrupted, has just switched off.
    pub(crate) fn expect_interrupted_order(&mut self) {
        self.expect_effect(PowerState::Off);
    }

    /// Waits until an opposite order has taken effect, or no longer can.
    pub(crate) async fn await_opposite_effect(&mut self, target: PowerState, cancel: &CancellationToken) {
        let Some(pending) = self.pending.filter(|pending| pending.state != target) else { return };
        let remaining = (pending.due_at - self.clock.now()).to_std().unwrap_or_default();
        let clock = Arc::clone(&self.clock);
        let reading = async {
            while self.pending.is_some() {
                // Whether it can be read or not: the time alone decides.
                if self.read_anew().await.is_err_and(|error| error.kind == OutletErrorKind::LeaseExpired) {
                    return;
                }
                if self.pending.is_some() {
                    self.clock.sleep(self.effect_poll()).await;
                }
            }
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            _ended = clock.timeout(remaining, reading) => {}
        }
    }

    /// Expects the effect of an order sent now, where the device needs time for it.
    pub(crate) fn expect_effect(&mut self, state: PowerState) {
        let effect_within = self.capabilities.effect_within;
        let due_at = time_after(self.clock.now(), effect_within);
        self.pending = (!effect_within.is_zero()).then_some(PendingOrder { state, due_at });
    }

    /// Whether an order for `target` may still take effect.
    pub(crate) fn is_effect_due(&self, target: PowerState) -> bool {
        self.pending.is_some_and(|pending| pending.state == target && self.clock.now() < pending.due_at)
    }

    /// Reads the outlet; again and again while an order for `target` may still take effect. Not cancelled: what was ordered
    /// is observed.
    pub(crate) async fn read_back(&mut self, target: Option<PowerState>) -> Result<PowerState, OutletError> {
        let mut reading = self.read().await;
        while let Some(target) = target
            && self.is_effect_due(target)
            && reading.as_ref().err().is_none_or(|error| error.kind != OutletErrorKind::LeaseExpired)
        {
            self.clock.sleep(self.effect_poll()).await;
            reading = self.read_anew().await;
        }
        reading
    }

    /// Time between two readings until one shows the order.
    fn effect_poll(&self) -> Duration {
        (self.capabilities.effect_within / MIN_EFFECT_READINGS).min(MAX_EFFECT_POLL)
    }

    /// Connects, where the device has closed the connection, and reads.
    async fn read_anew(&mut self) -> Result<PowerState, OutletError> {
        self.outlet.connect().await.map_err(|error| self.record_answer(error))?;
        self.read().await
    }
}

#[cfg(test)]
mod tests;

//! How a board's power is brought to be on or off: told, read back, and told again only if it must be.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::Supply;
use super::modbus::{Fault, Line};
use crate::clock::{Clock, after};

/// The longest that bringing the power to on or to off may take, all connections included.
pub(super) const PHASE: Duration = Duration::from_secs(15);
/// How many connections one phase may try: a relay board that serves another client refuses the first.
const ATTEMPTS: u32 = 3;
/// How long to wait before the second connection; before the third it is twice as long.
const BACK_OFF: Duration = Duration::from_millis(250);

/// What a run that was cancelled says.
const ABANDONED: &str = "abandoned";

/// One run at one coil, and what it has seen so far.
pub(super) struct Switching {
    clock: Arc<dyn Clock>,
    pub(super) line: Line,
    /// What was read last, unless something was written since.
    pub(super) observed: Option<Supply>,
    /// When the power was first seen to be off.
    pub(super) off_at: Option<DateTime<Utc>>,
    /// When the power was last seen to be on.
    pub(super) on_at: Option<DateTime<Utc>>,
    /// Whether a write was sent that may have been carried out.
    has_written: bool,
}

impl Switching {
    /// Begins a run on `line`.
    pub(super) fn new(clock: Arc<dyn Clock>, line: Line) -> Self {
        Self { clock, line, observed: None, off_at: None, on_at: None, has_written: false }
    }

    /// Takes the power away for `off_for` and gives it back; ends with the power given back whatever happened, unless
    /// nothing was written at all or the relay board can no longer be reached.
    pub(super) async fn cycle(
        &mut self,
        off_for: Duration,
        cancel: &CancellationToken,
    ) -> Result<(), String> {
        let cut = self.settle(Supply::Off, cancel).await;
        if !self.has_written {
            return cut;
        }
        if cut.is_ok() {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = self.clock.sleep(off_for) => {}
            }
        }
        // From here on cancelling changes nothing but the outcome: a board is never left dark.
        let restored = self.settle(Supply::On, &CancellationToken::new()).await;
        match (cut, restored) {
            (_, Err(why)) => Err(format!("the board may be without power: {why}")),
            (Err(why), Ok(())) => Err(why),
            (Ok(()), Ok(())) if cancel.is_cancelled() => Err(ABANDONED.to_owned()),
            (Ok(()), Ok(())) => Ok(()),
        }
    }

    /// Brings the power to `want` and sees it there, on up to three connections.
    ///
    /// Cancelled, it neither connects nor writes again, but a write that was sent is still read back.
    pub(super) async fn settle(&mut self, want: Supply, cancel: &CancellationToken) -> Result<(), String> {
        let deadline = after(self.clock.now(), PHASE);
        let mut is_told = false;
        let mut last = format!("there was no time left to switch the power {}", want.name());
        for attempt in 0..ATTEMPTS {
            if self.line.is_closed() && !self.back_off(attempt, deadline, cancel).await {
                break;
            }
            match self.attempt(want, &mut is_told, deadline, cancel).await {
                Ok(Some(seen)) if seen == want => return Ok(()),
                Ok(Some(seen)) => {
                    return Err(format!(
                        "the power was switched {} and still reads {}",
                        want.name(),
                        seen.name()
                    ));
                }
                Ok(None) => return Err(ABANDONED.to_owned()),
                Err(Fault::Rejected(reason)) => return Err(reason),
                Err(Fault::Lost(reason)) => last = reason,
            }
        }
        Err(if cancel.is_cancelled() { ABANDONED.to_owned() } else { last })
    }

    /// Tries on one connection; gives what was read back, or nothing where it was cancelled before it wrote.
    async fn attempt(
        &mut self,
        want: Supply,
        is_told: &mut bool,
        deadline: DateTime<Utc>,
        cancel: &CancellationToken,
    ) -> Result<Option<Supply>, Fault> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(None),
            connected = self.line.connect(deadline) => connected?,
        }
        // A write whose answer was lost may have been carried out: what the coil says decides.
        if *is_told && self.read(deadline).await? == want {
            return Ok(Some(want));
        }
        if cancel.is_cancelled() {
            return Ok(None);
        }
        self.write(want, is_told, deadline).await?;
        self.read(deadline).await.map(Some)
    }

    async fn write(
        &mut self,
        want: Supply,
        is_told: &mut bool,
        deadline: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let before = (self.observed.take(), self.has_written, *is_told);
        (self.has_written, *is_told) = (true, true);
        let written = self.line.write(want, deadline).await;
        if matches!(written, Err(Fault::Rejected(_))) {
            (self.observed, self.has_written, *is_told) = before;
        }
        written
    }

    async fn read(&mut self, deadline: DateTime<Utc>) -> Result<Supply, Fault> {
        let seen = self.line.read(deadline).await?;
        self.observed = Some(seen);
        match seen {
            Supply::Off => self.off_at = self.off_at.or(Some(self.clock.now())),
            Supply::On => self.on_at = Some(self.clock.now()),
        }
        Ok(seen)
    }

    /// Waits before another connection; false where there is no time or no wish for one.
    async fn back_off(&mut self, attempt: u32, deadline: DateTime<Utc>, cancel: &CancellationToken) -> bool {
        let at = after(self.clock.now(), BACK_OFF * attempt).max(self.line.rested_at);
        tokio::select! {
            biased;
            () = cancel.cancelled() => false,
            () = self.clock.sleep_until(at.min(deadline)) => at < deadline,
        }
    }
}

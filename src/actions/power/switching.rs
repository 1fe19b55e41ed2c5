//! How a board's power is brought to be on or off: told, read back, and told again only if it must be.
//!
//! ```text
//! cycle:  look ─ refused, unread ─▶ failed, nothing was written
//!          │ read
//!          ▼
//!         off ─▶ wait `off=` ─▶ on ─▶ ok      from the first write on, whatever fails: the power is given back
//! ```
//!
//! The power is taken away only where it was seen that the coil can be read. Each fresh connection begins with the write,
//! until one has been answered: a relay board may close after one answer, and a reading that fails keeps no board dark.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::Supply;
use super::fault::{Fault, Kind};
use super::modbus::Line;
use crate::clock::Clock;

/// The longest that looking, or bringing the power to on or to off, may take, all connections included.
pub(super) const PHASE: Duration = Duration::from_secs(15);
/// How often one phase is tried: a relay board that serves another client refuses the first connection.
const TRIES: u32 = 3;
/// How often taking the power away is tried in a cycle: the board may be dark already.
const OFF_TRIES: u32 = 2;
/// How long to wait before the second try; before each further one that much longer.
const BACK_OFF: Duration = Duration::from_millis(250);
/// How often giving the power back is tried, one try after the other: the board is dark until one succeeds.
const GIVE_TRIES: u32 = 12;
/// The longest from one try to the next.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);
/// How often a cycle that was interrupted is resumed; then it only gives the power back.
pub(super) const MAX_RESUMED: u32 = 2;

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
    /// Whether something was written in this run that may have been carried out.
    pub(super) has_written: bool,
    /// Whether runs before this one may have written something.
    is_resumed: bool,
    /// Whether the power may be off and could not be given back.
    pub(super) is_dark: bool,
}

impl Switching {
    /// Begins a run on `line`.
    pub(super) fn new(clock: Arc<dyn Clock>, line: Line) -> Self {
        Self {
            clock,
            line,
            observed: None,
            off_at: None,
            on_at: None,
            has_written: false,
            is_resumed: false,
            is_dark: false,
        }
    }

    /// Whether the power may have been taken away.
    fn may_be_off(&self) -> bool {
        self.has_written || self.is_resumed
    }

    /// Takes the power away for `off_for` and gives it back; ends with the power given back whatever happened, unless
    /// nothing was written at all or the relay board can no longer be reached.
    ///
    /// `interrupted` is how many runs before this one were not seen to end. Where the power is off after one, it is not
    /// taken away again.
    pub(super) async fn cycle(
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
            return Err(Fault::new(Kind::Interrupted, reason));
        }
        let cut = match self.look(cancel).await {
            Err(fault) => {
                if interrupted == 0 && fault.kind == Kind::Lost && !cancel.is_cancelled() {
                    // A relay board that takes writes and answers no reading may have left the board dark before.
                    // How this ends changes nothing: the reading has failed.
                    let _ = self.bring(Supply::On, 1, &CancellationToken::new()).await;
                    return Err(fault);
                }
                Err(fault)
            }
            Ok(()) if interrupted > 0 && self.observed == Some(Supply::Off) => Ok(()),
            Ok(()) => self.bring(Supply::Off, OFF_TRIES, cancel).await,
        };
        let is_expired = cut.as_ref().is_err_and(|fault| fault.kind == Kind::Expired);
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
        self.restore().await?;
        if cut.is_ok() && cancel.is_cancelled() { Err(Fault::abandoned()) } else { cut }
    }

    /// Gives the power back. Cancelling does not change that: a board is never left dark.
    async fn restore(&mut self) -> Result<(), Fault> {
        self.bring(Supply::On, GIVE_TRIES, &CancellationToken::new()).await.map_err(|fault| {
            self.is_dark = true;
            let reason = format!("the board may be without power: {}", fault.reason);
            Fault { reason, ..fault }
        })
    }

    /// Takes the power away where the coil can be read.
    pub(super) async fn cut(&mut self, cancel: &CancellationToken) -> Result<(), Fault> {
        self.look(cancel).await?;
        self.bring(Supply::Off, TRIES, cancel).await
    }

    /// Gives the board power.
    pub(super) async fn give(&mut self, cancel: &CancellationToken) -> Result<(), Fault> {
        self.bring(Supply::On, TRIES, cancel).await
    }

    /// Reads what the coil is, where it can be read.
    async fn look(&mut self, cancel: &CancellationToken) -> Result<(), Fault> {
        if self.line.can_read() { self.within_phase(None, TRIES, cancel).await } else { Ok(()) }
    }

    /// Brings the power to `want` and sees it there.
    ///
    /// Cancelled, it neither connects nor writes again, but a write that was sent is still read back.
    async fn bring(&mut self, want: Supply, tries: u32, cancel: &CancellationToken) -> Result<(), Fault> {
        self.within_phase(Some(want), tries, cancel).await
    }

    async fn within_phase(
        &mut self,
        want: Option<Supply>,
        tries: u32,
        cancel: &CancellationToken,
    ) -> Result<(), Fault> {
        let (clock, mut last) = (Arc::clone(&self.clock), None);
        let ended = clock.timeout(PHASE, self.repeat(want, tries, cancel, &mut last)).await;
        ended.unwrap_or_else(|| {
            let late =
                || Fault::new(Kind::Lost, format!("not done within {}", humantime::format_duration(PHASE)));
            Err(last.unwrap_or_else(late))
        })
    }

    async fn repeat(
        &mut self,
        want: Option<Supply>,
        tries: u32,
        cancel: &CancellationToken,
        last: &mut Option<Fault>,
    ) -> Result<(), Fault> {
        let mut is_told = false;
        for attempt in 0..tries {
            let tried = async {
                self.clock.sleep((BACK_OFF * attempt).min(LONGEST_BACK_OFF)).await;
                self.line.connect().await
            };
            let connected = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    return Err(last.take().map_or_else(Fault::abandoned, Fault::then_abandoned));
                }
                connected = tried => connected,
            };
            let ended = match connected {
                Ok(()) => self.attempt(want, &mut is_told).await,
                Err(fault) => Err(fault),
            };
            match ended {
                Ok(()) => return Ok(()),
                Err(fault) if fault.kind == Kind::Expired => return Err(fault),
                // What must be given back is tried for, whatever the relay board says.
                Err(fault) if fault.kind == Kind::Misconfigured && !self.may_be_off() => return Err(fault),
                Err(fault) => *last = Some(fault),
            }
        }
        Err(last.take().unwrap_or_else(Fault::abandoned))
    }

    /// Tries once: writes, unless a write was answered and is to be read back, and reads.
    async fn attempt(&mut self, want: Option<Supply>, is_told: &mut bool) -> Result<(), Fault> {
        let was_told = *is_told;
        let mut unanswered = None;
        if let Some(want) = want.filter(|_| !was_told) {
            match self.write(want).await {
                Ok(()) => *is_told = true,
                // On the same connection, lest a fresh one begins without the write.
                Err(fault) if fault.kind == Kind::Silent => unanswered = Some(fault),
                Err(fault) => {
                    *is_told = fault.kind == Kind::Unconfirmed && self.line.can_read();
                    return Err(fault);
                }
            }
        }
        if !self.line.can_read() {
            return unanswered.map_or(Ok(()), Err);
        }
        match (self.read().await, want) {
            (Ok(seen), Some(want)) if seen != want => {
                *is_told = false;
                let reason =
                    format!("the power was switched {} and still reads {}", want.name(), seen.name());
                Err(unanswered.unwrap_or_else(|| Fault::new(Kind::Differs, reason)))
            }
            (Ok(_), _) => Ok(()),
            (Err(fault), _) => {
                // It was read on a connection of its own: the next begins with the write again.
                *is_told &= !was_told;
                Err(unanswered.unwrap_or(fault))
            }
        }
    }

    async fn write(&mut self, want: Supply) -> Result<(), Fault> {
        let before = (self.observed.take(), self.has_written);
        // Said before it is so: whoever drops this call cannot know how far it came.
        self.has_written = true;
        let written = self.line.write(want).await;
        if written.as_ref().is_err_and(|fault| !fault.may_have_switched()) {
            (self.observed, self.has_written) = before;
        }
        written
    }

    async fn read(&mut self) -> Result<Supply, Fault> {
        let seen = self.line.read().await?;
        self.observed = Some(seen);
        match seen {
            Supply::Off => self.off_at = self.off_at.or(Some(self.clock.now())),
            Supply::On => self.on_at = Some(self.clock.now()),
        }
        Ok(seen)
    }
}

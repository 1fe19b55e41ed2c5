//! Programs that a driver runs: bounded by the call timeout and the lease, with a rest between them.
//!
//! Nothing is started after the lease expired, and a program that runs then is killed with its children.

use std::process::ExitStatus;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::time_after;
use device_io::program::{self, ProgramCall, ProgramError, ProgramText};

use crate::client::RequestKind;
use crate::error::{OutletError, OutletErrorKind};
use crate::evidence::evidence_text;
use crate::http::misconfigured;
use crate::scheme::OutletAccess;

/// Programs of one run.
pub(crate) struct ProgramSession {
    pub(crate) access: OutletAccess,
    settle_for: Duration,
    /// The rest before the first program.
    first_rest: Duration,
    /// When the rest after the last program ends.
    settled_at: DateTime<Utc>,
    /// Number of programs started.
    pub(crate) attempts: u32,
}

/// A program that ended.
#[derive(Debug)]
pub(crate) struct EndedProgram {
    pub(crate) status: ExitStatus,
    pub(crate) text: ProgramText,
}

impl ProgramSession {
    /// Prepares for programs with a rest of `settle_for` between them; nothing is started.
    pub(crate) fn new(access: OutletAccess, settle_for: Duration) -> Self {
        // Another process may have run one just now; one that was stopped could not end its own at the time limit.
        let left_over =
            if access.is_resumed { program::longest_run(access.call_limit) } else { Duration::ZERO };
        let first_rest = left_over + settle_for;
        let settled_at = time_after(access.clock.now(), first_rest);
        Self { access, settle_for, first_rest, settled_at, attempts: 0 }
    }

    /// Checks that the lease has not expired.
    pub(crate) fn check_lease(&self) -> Result<(), OutletError> {
        if self.access.lease.may_act() {
            Ok(())
        } else {
            Err(OutletError::new(OutletErrorKind::LeaseExpired, EXPIRED))
        }
    }

    /// Runs a program until it ends. What its exit status means is up to the driver.
    pub(crate) async fn run(
        &mut self,
        kind: RequestKind,
        call: ProgramCall<'_>,
    ) -> Result<EndedProgram, OutletError> {
        self.check_lease()?;
        let clock = &self.access.clock;
        // Bounded by the rest, because the clock may have been set meanwhile.
        let longest = if self.attempts == 0 { self.first_rest } else { self.settle_for };
        let remaining = (self.settled_at - clock.now()).to_std().unwrap_or_default().min(longest);
        if !remaining.is_zero() {
            clock.sleep(remaining).await;
        }
        self.check_lease()?;
        self.attempts += 1;
        let ended = tokio::select! {
            biased;
            ended = program::run(&**clock, call, self.access.call_limit) => ended,
            // Dropping the run kills the program.
            () = self.access.lease.expired() => {
                return Err(OutletError::new(OutletErrorKind::ConnectionLost, EXPIRED));
            }
        };
        self.settled_at = time_after(clock.now(), self.settle_for);
        match ended {
            Ok((status, text)) => Ok(EndedProgram { status, text }),
            Err(error) => Err(program_error(&error, kind)),
        }
    }
}

const EXPIRED: &str = "lease expired: the next holder of the outlet restores the power";

fn program_error(error: &ProgramError, kind: RequestKind) -> OutletError {
    match (error.local_trouble(), error) {
        (Some(trouble), _) => OutletError::new(OutletErrorKind::Local(trouble), error.to_string()),
        (None, ProgramError::TimedOut { text, .. }) => {
            let kind = match kind {
                RequestKind::Order => OutletErrorKind::AnswerPending,
                RequestKind::Query => OutletErrorKind::ConnectionLost,
            };
            let error = OutletError::new(kind, format!("{error}, and was killed"));
            let words = words(text, &[]);
            if words.is_empty() { error } else { error.with_answer(words) }
        }
        (None, ProgramError::Io(..) | ProgramError::NoCommand) => misconfigured(error.to_string()),
    }
}

/// The words of a program for the evidence: its error output, or else its output.
pub(crate) fn words(text: &ProgramText, secrets: &[String]) -> String {
    let all = if text.error_output.is_empty() { &text.output } else { &text.error_output };
    evidence_text(all, secrets)
}

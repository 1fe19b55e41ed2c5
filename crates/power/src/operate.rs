//! Operations at an outlet, whatever its driver: on, off, and off and on again.

use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use clock::Clock;
use device_io::{Evidence, LocalTrouble, ProcessLease};
use tokio_util::sync::CancellationToken;

use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::{PowerState, Readback};
use crate::scheme::OutletAccess;
use crate::switching::{PHASE_TIMEOUT, SwitchingRun};
use crate::url::{MAX_OFF_TIME, PowerUrl};

/// The longest that one call to a device may take where nothing else is said.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What to do with an outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerOperation {
    /// Gives power.
    On,
    /// Takes the power away.
    Off,
    /// Takes the power away, waits, and gives it back.
    Cycle,
}

/// In what circumstances an operation runs.
#[derive(Clone)]
pub struct PowerContext {
    /// What its times run on.
    pub clock: Arc<dyn Clock>,
    /// Until when the outlet may be written to: asked before each write.
    pub lease: ProcessLease,
    /// The longest that one call to the device may take, mostly [`DEFAULT_CALL_TIMEOUT`].
    pub call_limit: Duration,
    /// How many runs of the same operation before this one were not seen to end.
    pub interrupted_runs: u32,
}

/// An operation that ended without what it is for.
pub type PowerRunError = device_io::RunError<LocalTrouble>;
/// What that means.
pub type PowerRunErrorKind = device_io::RunErrorKind<LocalTrouble>;

/// The longest that an operation takes: a phase for each thing to do (look, cut, give back), and the longest time that a
/// cycle may keep an outlet off.
#[must_use]
pub fn max_operation_time(operation: PowerOperation) -> Duration {
    match operation {
        PowerOperation::On => PHASE_TIMEOUT,
        PowerOperation::Off => 2 * PHASE_TIMEOUT,
        PowerOperation::Cycle => 3 * PHASE_TIMEOUT + MAX_OFF_TIME,
    }
}

/// Carries out `operation` at the outlet, and says what was observed.
///
/// The caller sees to it that a device which takes one client ([`PowerUrl::resource`]) has one operation at a time, and
/// bounds the time. Cancelled, it ends as soon as nothing is left without power that had any. Only a run that is *dropped*
/// cannot give power back: so cancel first, and drop only past the limit.
///
/// # Errors
///
/// [`PowerRunError`], when what the operation is for was not observed.
pub async fn operate(
    url: &PowerUrl,
    operation: PowerOperation,
    context: &PowerContext,
    cancel: &CancellationToken,
) -> Result<Evidence, PowerRunError> {
    let PowerContext { clock, lease, call_limit, interrupted_runs: interrupted } = context.clone();
    let access = OutletAccess { clock: Arc::clone(&clock), lease, call_limit };
    let mut switching = SwitchingRun::new(clock, url.open(access), url.capabilities());
    let ended = match operation {
        PowerOperation::On => switching.switch_on(cancel).await,
        PowerOperation::Off => switching.switch_off(cancel).await,
        PowerOperation::Cycle => switching.cycle(url.off_for(), interrupted, cancel).await,
    };
    let mut evidence = evidence(&switching);
    if interrupted > 0 {
        evidence.insert("interrupted".to_owned(), interrupted.into());
    }
    match ended {
        Ok(()) => {
            if let Some(answer) = &switching.observed_answer {
                evidence.insert("answer".to_owned(), answer.as_str().into());
            }
            if !switching.can_read() {
                evidence.insert("result".to_owned(), "accepted, not observed".into());
            }
            Ok(evidence)
        }
        Err(fault) => {
            if let Some(answer) = &switching.last_answer {
                evidence.insert("answer".to_owned(), answer.as_str().into());
            }
            // What is left of an earlier run is to give power back, so that one that fails leaves the outlet dark.
            let is_left_over = operation == PowerOperation::On && interrupted > 0;
            let ending = error_kind(&fault, url, &switching, is_left_over);
            Err(PowerRunError { reason: fault.reason, evidence, kind: ending })
        }
    }
}

fn evidence(switching: &SwitchingRun) -> Evidence {
    let mut evidence = switching.outlet.evidence();
    evidence.insert("observed".to_owned(), switching.observed.map_or("unknown", PowerState::name).into());
    evidence.insert("attempts".to_owned(), switching.outlet.attempts().into());
    if switching.capabilities.readback == Readback::None {
        evidence.insert("readback".to_owned(), "none".into());
    }
    for (name, at) in [("off_at", switching.off_at), ("on_at", switching.on_at)] {
        if let Some(at) = at {
            evidence.insert(name.to_owned(), at.to_rfc3339_opts(SecondsFormat::Micros, true).into());
        }
    }
    evidence
}

fn error_kind(
    fault: &OutletError,
    url: &PowerUrl,
    switching: &SwitchingRun,
    is_left_over: bool,
) -> PowerRunErrorKind {
    match &fault.kind {
        OutletErrorKind::Local(trouble) => {
            PowerRunErrorKind::Suspended { trouble: trouble.clone(), has_acted: switching.has_written }
        }
        _ if switching.is_unrestored || is_left_over => {
            PowerRunErrorKind::Unrestored { what: "power", at: url.outlet() }
        }
        OutletErrorKind::Misconfigured | OutletErrorKind::WrongProtocol => PowerRunErrorKind::Misconfigured,
        OutletErrorKind::Cancelled
        | OutletErrorKind::LeaseExpired
        | OutletErrorKind::NotConnected
        | OutletErrorKind::Refused
        | OutletErrorKind::Unconfirmed
        | OutletErrorKind::AnswerPending
        | OutletErrorKind::ConnectionLost
        | OutletErrorKind::ReadbackDiffers
        | OutletErrorKind::Interrupted => PowerRunErrorKind::Failed,
    }
}

//! Operations on an outlet of any driver: on, off, power cycle, and reading it.

use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use clock::Clock;
use device_io::{Credentials, Evidence, LocalTrouble, ProcessLease, UnreachableDevice};
use tokio_util::sync::CancellationToken;

use crate::commands::PowerCommands;
use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::{MAX_EFFECT_TIME, MAX_OFF_TIME, PowerState, Readback};
use crate::scheme::OutletAccess;
use crate::switching::{PHASE_TIMEOUT, SwitchingRun};
use crate::url::PowerUrl;

/// Default timeout of one call to a device.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Operation on an outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerOperation {
    /// Switches on.
    On,
    /// Switches off.
    Off,
    /// Switches off, waits, and switches on.
    Cycle,
    /// Reads the outlet, where it can be read; otherwise it only connects. Nothing is switched.
    Read,
}

/// Context of an operation: clock, lease and limits.
#[derive(Clone)]
pub struct PowerContext {
    /// The clock for all times of the operation.
    pub clock: Arc<dyn Clock>,
    /// The lease of this process; checked before each write.
    pub lease: ProcessLease,
    /// Timeout of one call to the device, usually [`DEFAULT_CALL_TIMEOUT`].
    pub call_limit: Duration,
    /// Number of earlier runs of the same operation that did not finish.
    pub interrupted_runs: u32,
    /// The credentials of this server, which power URLs name.
    pub credentials: Credentials,
    /// The power commands of this server, which power URLs name.
    pub commands: PowerCommands,
    /// The least off time of a cycle, where the URL has a shorter one.
    pub min_off: Duration,
}

impl PowerContext {
    /// Returns what a driver needs for this operation.
    #[must_use]
    pub fn access(&self) -> OutletAccess {
        let Self { clock, lease, call_limit, interrupted_runs, credentials, commands, min_off: _ } =
            self.clone();
        let is_resumed = interrupted_runs > 0;
        OutletAccess { clock, lease, call_limit, is_resumed, credentials, commands }
    }
}

/// Error of an operation.
pub type PowerRunError = device_io::RunError<LocalTrouble>;
/// Kind of a [`PowerRunError`].
pub type PowerRunErrorKind = device_io::RunErrorKind<LocalTrouble>;

/// Returns the longest time an operation takes: one timeout for each phase (read, switch off, read what the device
/// restored, switch on), plus the longest off time for a cycle, plus the time that a device may need until a reading shows
/// the order.
///
/// Before it switches on, an order to switch off may have to take effect first. In a cycle the off time and two of these
/// times are [`MAX_OFF_TIME`] at most, and a third one takes no longer than the phase for what the device restores, which
/// such devices do not have.
#[must_use]
pub fn max_operation_time(operation: PowerOperation) -> Duration {
    match operation {
        PowerOperation::Read => PHASE_TIMEOUT,
        PowerOperation::On => PHASE_TIMEOUT + 2 * MAX_EFFECT_TIME,
        PowerOperation::Off => 2 * PHASE_TIMEOUT + MAX_EFFECT_TIME,
        PowerOperation::Cycle => 4 * PHASE_TIMEOUT + MAX_OFF_TIME,
    }
}

/// Runs `operation` at the outlet and returns what was observed.
///
/// The caller bounds the time, and runs one operation at a time at a device that takes a single client
/// ([`PowerUrl::resource`]). A cancelled operation ends as soon as the power is restored. A *dropped* run cannot
/// restore the power: cancel first, and drop only after [`max_operation_time`].
///
/// # Errors
///
/// [`PowerRunError`], when the target state was not observed.
pub async fn operate(
    url: &PowerUrl,
    operation: PowerOperation,
    context: &PowerContext,
    cancel: &CancellationToken,
) -> Result<Evidence, PowerRunError> {
    let PowerContext { interrupted_runs, min_off, .. } = *context;
    let mut switching = open(url, context);
    if interrupted_runs > 0 {
        switching.expect_interrupted_order();
    }
    let result = match operation {
        PowerOperation::On => switching.switch_on(cancel).await,
        PowerOperation::Off => switching.switch_off(cancel).await,
        PowerOperation::Cycle => switching.cycle(url.off_for().max(min_off), interrupted_runs, cancel).await,
        PowerOperation::Read => switching.observe(cancel).await,
    };
    let mut evidence = evidence(&switching);
    if interrupted_runs > 0 {
        evidence.insert("interrupted".to_owned(), interrupted_runs.into());
    }
    match result {
        Ok(()) => {
            if let Some(answer) = &switching.observed_answer {
                evidence.insert("answer".to_owned(), answer.as_str().into());
            }
            if !switching.can_read() {
                let result = match operation {
                    PowerOperation::On | PowerOperation::Off | PowerOperation::Cycle => {
                        "accepted, not observed"
                    }
                    PowerOperation::Read => "connected; the outlet cannot be read",
                };
                evidence.insert("result".to_owned(), result.into());
            }
            Ok(evidence)
        }
        Err(error) => {
            if let Some(answer) = &switching.last_answer {
                evidence.insert("answer".to_owned(), answer.as_str().into());
            }
            // An `On` after an interrupted run restores the power: if it fails, the outlet is left off.
            let is_left_over = operation == PowerOperation::On && interrupted_runs > 0;
            let kind = error_kind(&error, url, &switching, is_left_over);
            let unreachable = error.is_unreachable().then(|| {
                Box::new(UnreachableDevice {
                    resource: url.device().to_owned(),
                    has_acted: switching.has_written,
                    is_suspected: false,
                })
            });
            Err(PowerRunError { reason: error.reason, evidence, kind, unreachable })
        }
    }
}

/// Reads the outlet, or only connects to its device where the outlet cannot be read; nothing is written.
///
/// Any answer of the device is a success: the evidence says what was observed.
///
/// # Errors
///
/// [`PowerRunError`], when the device did not answer or could not be asked.
pub async fn probe(
    url: &PowerUrl,
    context: &PowerContext,
    cancel: &CancellationToken,
) -> Result<Evidence, PowerRunError> {
    let mut switching = open(url, context);
    let result = if switching.can_read() {
        switching.read_once(cancel).await
    } else {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(OutletError::cancelled()),
            connected = switching.outlet.connect() => connected,
        }
    };
    let mut evidence = evidence(&switching);
    if let Some(answer) = &switching.last_answer {
        evidence.insert("answer".to_owned(), answer.as_str().into());
    }
    match result {
        Err(error) if !error.is_answer() => {
            let kind = error_kind(&error, url, &switching, false);
            let unreachable = error.is_unreachable().then(|| {
                Box::new(UnreachableDevice {
                    resource: url.device().to_owned(),
                    has_acted: false,
                    is_suspected: false,
                })
            });
            Err(PowerRunError { reason: error.reason, evidence, kind, unreachable })
        }
        Ok(()) | Err(_) => Ok(evidence),
    }
}

/// Opens the outlet for one run; nothing is sent yet.
fn open(url: &PowerUrl, context: &PowerContext) -> SwitchingRun {
    let outlet = url.open(context.access());
    let mut capabilities = url.capabilities();
    capabilities.readback = outlet.readback().unwrap_or(capabilities.readback);
    SwitchingRun::new(Arc::clone(&context.clock), outlet, capabilities)
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
    error: &OutletError,
    url: &PowerUrl,
    switching: &SwitchingRun,
    is_left_over: bool,
) -> PowerRunErrorKind {
    match &error.kind {
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
